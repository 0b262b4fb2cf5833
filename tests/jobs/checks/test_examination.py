import time
from collections.abc import Iterator

import pytest

from jobs.checks.examination import Check, examine
from jobs.finding import Finding, failure_finding
from pipeline.errors import ConfigError, UnavailableError

WELL = Finding("a", "ok", "is well")


def check(subject: str, look, seconds: float = 10.0) -> Check:
    return Check(subject, look, "do this", seconds)


def raises(error: Exception):
    def look() -> Iterator[Finding]:
        yield WELL
        raise error

    return look


def test_findings_come_in_the_order_of_their_checks():
    def wait() -> list[Finding]:
        time.sleep(0.3)
        return [WELL]

    slow = check("slow", wait)
    quick = check("quick", lambda: [Finding("b", "ok", "is well too")])
    assert [finding.subject for finding in examine([slow, quick])] == ["a", "b"]


def test_what_fails_or_hangs_keeps_no_other_check_from_being_made():
    def hang() -> Iterator[Finding]:
        yield WELL
        time.sleep(60)

    started = time.monotonic()
    findings = list(
        examine(
            [
                check("ours", raises(ConfigError("table.uri x: is wrong; name another"))),
                check("others'", raises(ZeroDivisionError("of a library"))),
                check("hangs", hang, seconds=0.5),
                check("well", lambda: [WELL]),
            ]
        )
    )
    assert time.monotonic() - started < 5
    assert findings == [
        WELL,
        Finding("ours", "failure", "table.uri x: is wrong", "name another"),
        WELL,
        Finding("others'", "failure", "ZeroDivisionError: of a library", "do this"),
        WELL,
        Finding("hangs", "failure", "no answer within 0.5 s", "do this"),
        WELL,
    ]


@pytest.mark.parametrize(
    ("message", "seen", "advice"),
    [
        ("x: is wrong; do that; or this", "x: is wrong", "do that; or this"),
        ("x: is wrong", "x: is wrong", "do this"),
        ("x: the store failed; run again: finished units are kept", "x: the store failed", "do this"),
        ("x: gone; name another; run again: finished units are kept", "x: gone", "name another"),
    ],
)
def test_an_error_says_itself_what_to_do(message: str, seen: str, advice: str):
    assert failure_finding("x", UnavailableError(message), "do this") == Finding("x", "failure", seen, advice)
