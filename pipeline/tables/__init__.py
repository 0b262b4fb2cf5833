"""The prediction table: fragments that hold finished work, snapshots that readers see."""
