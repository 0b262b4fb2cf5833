"""Entry points: read a job file, call the library, show what happened."""
