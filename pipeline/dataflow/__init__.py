"""Units through Ray Data: plan, read, encode, keep. The only package that imports ray."""
