"""Checkpoint and packs in, logits out; knows neither Ray nor files of documents."""
