"""Studies: a file per paper's question."""
