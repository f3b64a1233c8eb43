"""Corruptions: pure functions from a data set to a corrupted one that remembers what it changed."""
