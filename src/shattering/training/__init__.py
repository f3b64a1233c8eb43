"""Training: one loop that yields snapshots."""
