"""Experiments without a training by steps: each file is one, and its run gives rows of numbers along some axis."""
