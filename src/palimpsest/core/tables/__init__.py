"""What the artifacts of all runs hold → the tidy tables that laws and report read."""
