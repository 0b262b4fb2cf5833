"""Labelled documents -> a checkpoint folder. Torch, no ray: one process here is one worker."""
