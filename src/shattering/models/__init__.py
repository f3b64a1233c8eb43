"""Networks: those of the papers, and the user's own."""
