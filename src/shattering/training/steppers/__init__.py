"""Ways of making the same updates: one file each."""
