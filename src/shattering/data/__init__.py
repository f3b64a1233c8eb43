"""Data sets: read, checked, cached, prepared."""
