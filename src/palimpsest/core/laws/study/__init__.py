"""What the study's tables are fitted with: one module per question, frames in, records out."""
