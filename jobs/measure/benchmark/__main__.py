"""`python -m jobs.measure.benchmark`: the benchmark where typer, and so `rookery benchmark`, is not installed."""

import sys

from jobs.measure.benchmark.command import main
from pipeline.errors import RookeryError

if __name__ == "__main__":
    try:
        main()
    except RookeryError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
