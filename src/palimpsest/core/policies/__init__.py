"""Learning-rate policies, one file each: a kind is the module of that name.

A module has `Params` (closed, frozen, its `kind` a literal of the file's name), NEEDS_PROBE,
NEEDS_LENGTH, `label(params)` and `rate(params, memory, step)`; a new file is a new policy.
`memory` is a dict of plain JSON that goes along through a phase and is saved with it.
No module loads torch: parameters are checked without it.
"""
