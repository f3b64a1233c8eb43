"""Spec, record, study, plan, streams, statistics, registry, errors and I/O; knows no torch."""
