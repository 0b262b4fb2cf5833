"""Checks, each made in a thread of its own with a limit: one that hangs or fails keeps no other from being made."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from jobs.finding import Finding, failure_finding
from pipeline.errors import RookeryError

CHECK_S = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at; `advice` is what to do where an error doesn't say it."""

    subject: str
    look: Callable[[], Iterable[Finding]]
    advice: str
    seconds: float = CHECK_S


@dataclass(slots=True)
class _Examination:
    """A check that is being made."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # a daemon: the process ends without those that hang
        self.thread = threading.Thread(target=self._look, name=self.check.subject, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        check = self.check
        try:
            self.findings.extend(check.look())
        except RookeryError as error:
            self.findings.append(failure_finding(check.subject, error, check.advice))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is a finding, and no traceback
            self.findings.append(Finding(check.subject, "failure", f"{type(error).__name__}: {error}", check.advice))

    def result(self, until: float) -> list[Finding]:
        self.thread.join(max(0.0, until - time.monotonic()))
        if not self.thread.is_alive():
            return self.findings
        late = Finding(self.check.subject, "failure", f"no answer within {self.check.seconds:g} s", self.check.advice)
        return [*self.findings, late]


def examine(checks: Sequence[Check]) -> Iterator[Finding]:
    """Makes all checks at the same time; gives what they find in their order, each as soon as those before it are."""
    started = time.monotonic()
    for examination in [_Examination(check) for check in checks]:
        yield from examination.result(started + examination.check.seconds)
