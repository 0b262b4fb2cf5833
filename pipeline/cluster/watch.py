"""Says what a run waits for while nothing of it ends."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

SILENCE_NOTICE_S = 300.0


class Watch:
    """Tells a line each five minutes without progress.

    `explain` says for what the run waits and runs in a thread of its own; `tell` gets the line.
    """

    def __init__(
        self,
        explain: Callable[[], str],
        tell: Callable[[str], None],
        every_s: float = SILENCE_NOTICE_S,
    ) -> None:
        self._explain, self._tell, self._every_s = explain, tell, every_s
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def progress(self) -> None:
        """Begins the five minutes anew, because something ended."""
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()  # it may be amid a request to a store that is away: nobody waits for it

    def _run(self) -> None:
        last_notice = 0.0  # in seconds without progress
        while not self._ended.wait(min(1.0, self._every_s / 4)):
            idle = time.monotonic() - self._last
            last_notice = min(last_notice, idle)
            if idle - last_notice >= self._every_s:
                last_notice = idle
                self._tell(f"no unit has ended for {idle / 60:,.0f} min: {self._explained()}")

    def _explained(self) -> str:
        try:
            return self._explain()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the run waits for, and must not end it
            return f"{error}"
