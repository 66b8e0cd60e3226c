"""Pure computation: tensors, arrays and frames in and out; no paths, no YAML, no printing."""
