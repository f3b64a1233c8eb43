"""Tables, charts and HTML of what a store holds; trains nothing."""
