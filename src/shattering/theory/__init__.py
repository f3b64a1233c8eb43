"""Formulas of the field as pure functions of numbers and arrays: what simulations and trainings are held against."""
