"""Records on disk: written whole, verified when read, leased while computed."""
