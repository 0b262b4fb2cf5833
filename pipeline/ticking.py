"""Something that is done time and again while a block runs, whether anything happens in it or not."""

import contextlib
import threading
from collections.abc import Callable, Iterator

LEAVING_SECONDS = 5.0  # that a block's end waits: the thread may be amid a request to a store that is away


@contextlib.contextmanager
def every(seconds: float, act: Callable[[], None], leave: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Calls `act` each `seconds` in a thread of its own until the block ends, then `leave` in the same thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()
        leave()

    thread = threading.Thread(target=run, name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LEAVING_SECONDS)
