"""A snapshot's rows as files that other programs take."""
