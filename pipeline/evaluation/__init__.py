"""Scores against the truth: metrics, calibration, thresholds and the report. Arrays in, small values out; no files."""
