"""Gradients of single examples: their sums, norms and alignment, without ever holding them all."""
