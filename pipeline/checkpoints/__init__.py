"""A checkpoint's folder: what it says of itself, its weights by their names, and others' checkpoints made into one."""
