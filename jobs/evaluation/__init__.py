"""`rookery evaluate`, but for its command line."""
