"""Text to packs: tokens, windows, packing. Integers and Arrow only."""
