"""Watching a training that somebody else runs: what is measured beside it, and how it is left untouched."""
