"""One module per stage, one contract: `build(spec, inputs, out)`."""
