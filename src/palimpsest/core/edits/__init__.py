"""Edits: phases that change the weights without training, one file each.

A module has `Settings` (closed, frozen, its `kind` a literal of the file's name), `label(settings)`
and `edit(weights, base, settings)`, which returns the new flat weights. No module loads torch.
"""
