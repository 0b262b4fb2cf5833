"""Something that is done time and again while a block runs, whether anything happens in it or not."""

import contextlib
import threading
from collections.abc import Callable, Iterator

LEAVING_SECONDS_OF_TICKS = 5.0


@contextlib.contextmanager
def every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Calls `act` each `seconds` in a thread of its own, until the block ends."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=run, name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LEAVING_SECONDS_OF_TICKS)  # it may be amid a request to a store that is away
