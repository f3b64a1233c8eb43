"""What an audit asks of a user's network and data; each file is one question."""
