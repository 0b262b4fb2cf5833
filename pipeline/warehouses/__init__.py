"""The statements that load a snapshot, or a difference between two, into a warehouse, and check what was loaded."""
