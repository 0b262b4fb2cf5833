"""The documentation's site: pages in Markdown, and what of them is generated (reference.py)."""
