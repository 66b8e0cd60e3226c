"""Palimpsest: how much of the old text still shows after training on new text."""
