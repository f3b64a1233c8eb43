"""Gradient rules, one file each: how a function's weights get the gradients of single examples from one backward."""
