"""Rookery: labels corpora of long documents with BigBird, on Ray."""
