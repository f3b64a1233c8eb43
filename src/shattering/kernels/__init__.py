"""Kernels: exact interpolation, and the features it is done on."""
