"""The corpus: find files, cut them into units, read a unit's documents."""
