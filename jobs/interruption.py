"""Ctrl-C and SIGTERM: a line at once, an orderly end within seconds, and an immediate one for who asks twice."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pipeline.processes import end_children

PATIENCE_S = 30.0  # for an orderly end
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LINE = b"\nstopping: units that are not finished are given up, the others are kept; once more to stop at once\n"


class Interrupted(BaseException):
    """Somebody asked this process to end. `exit_code` is what shells give for the signal.

    No KeyboardInterrupt, which typer would make an exit of its own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises Interrupted in the main thread at the first signal; the next, or 30 s, end all processes at once."""
    stderr = os.dup(2)  # which leads nowhere for as long as Ray starts

    def first(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, _end_at_once)
        os.write(stderr, LINE)  # past Python's buffers, whose lock the signal may have come amid
        timer = threading.Timer(PATIENCE_S, _end_at_once, (number, None))
        timer.daemon = True
        timer.start()
        raise Interrupted(number)

    before = {number: signal.signal(number, first) for number in SIGNALS}
    try:
        yield
    finally:
        os.close(stderr)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    end_children()
    os._exit(128 + number)
