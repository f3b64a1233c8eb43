"""A local page over a store while its runs are computed: read-only, for one person on one machine."""
