"""What turns pooled hidden states into logits: a file for each kind, which kinds.py names."""
