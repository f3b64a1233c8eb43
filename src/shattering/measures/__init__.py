"""Measures: pure functions of a probe (and comparisons: of records) to named numbers with units."""
