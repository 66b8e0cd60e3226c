"""Turns a study's tables and fits into the answers of the report, one per question."""
