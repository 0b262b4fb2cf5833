"""What the doctor found: a line of `rookery doctor`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import RookeryError

RUN_AGAIN = "; run again: finished units are kept"  # which is no advice where no run has begun
FindingState = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, what was seen, and what to do where it isn't well."""

    subject: str
    state: FindingState
    seen: str
    advice: str = ""


def failure_finding(subject: str, error: RookeryError, advice: str) -> Finding:
    """Makes a finding of an error of ours, which says behind its first semicolon what to do; else it is `advice`."""
    seen, _, told = str(error).removesuffix(RUN_AGAIN).partition("; ")
    return Finding(subject, "failure", seen, told or advice)
