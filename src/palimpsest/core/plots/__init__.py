"""Turns a study's tables into figures: one file per family, frames in, panels out."""
