"""What becomes of a run's weights when another run starts from them: one file each."""
