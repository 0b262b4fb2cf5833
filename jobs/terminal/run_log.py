"""Where a labelling run is heard: people on standard error, or a machine, with an object of JSON in each line.

Standard output is the summary's alone.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from jobs.terminal.console import printable

LogFormat = Literal["text", "json"]

run_console = Console(highlight=False, stderr=True)


class RunLog:
    """What is told of a run. As text everything that `run_console` prints; as JSON only events."""

    format: LogFormat = "text"

    def use(self, format_: LogFormat) -> None:
        """Chooses how this process tells of its run."""
        self.format = format_
        run_console.quiet = format_ == "json"

    def event(self, kind: str, **values: Any) -> None:
        """Writes an event for machines, with its time; nothing where people read."""
        if self.format == "json":
            line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": kind} | values
            print(json.dumps(line), file=sys.stderr, flush=True)

    def notice(self, line: str) -> None:
        """Tells what somebody who watches should know: what the run waits for, what could not be written."""
        run_console.print(Text(printable(line), style="yellow"), soft_wrap=True)
        self.event("notice", message=line)


run_log = RunLog()
