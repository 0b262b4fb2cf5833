"""The laboratory: what labelling costs in time and memory, each measured by `python -m jobs.measure.NAME`."""
