"""Models that are fitted at once: trees, neighbours, kernels, constructions; one file each."""
