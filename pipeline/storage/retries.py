"""Waiting for a store that is away, in one place for whatever is asked of it.

A request that fails in a way that may pass is tried again, after waits that grow, until the store has been away for
as long as the job allows. How long it has been away is the process's to know: what is asked of it after it was given
up, as when a failed task tidies up behind itself, does not wait as long again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from typing import TypeVar

from pipeline.errors import UnavailableError

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between attempts
TELL_SECONDS = 5.0  # an outage that lasts longer is logged
Answer = TypeVar("Answer")
logger = logging.getLogger("pipeline.storage")


@dataclass(slots=True)
class Outage:
    """A store has not answered since."""

    began: float
    is_told: bool = False


_outages: dict[str, Outage] = {}  # by store; what answers has none


def patiently(ask: Callable[[], Answer], store: str, seconds: float) -> Answer:
    """Asks a store, again where that may help, for at most `seconds` from its first failure on.

    Raises what `ask` raises.
    """
    wait, first_failure = FIRST_WAIT, None
    while True:
        try:
            answer = ask()
        except UnavailableError as error:
            now = time.monotonic()
            first_failure = first_failure or now
            outage = _outages.setdefault(store, Outage(now))
            left = min(first_failure, outage.began) + seconds - now  # where others are answered, it counts alone
            if left <= 0:
                raise
            if now - outage.began >= TELL_SECONDS and not outage.is_told:
                outage.is_told = True
                logger.warning("%s; waiting for it, %.0f s more", error, left)
            time.sleep(min(left, wait * uniform(0.5, 1)))
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            _outages.pop(store, None)
            return answer
