"""Where a run's seconds go, by when its units were reported."""

import pytest

from jobs.measure.overhead import LabellingTimes, overhead_rows
from pipeline.runs.unit_done import UnitDone


def test_what_comes_before_the_first_unit_is_apart():
    """Two units of 10 s each, the first from second 5 on; the second waited for a second."""
    units = [UnitDone("unit", 0, 1, 0, 1, 100, read_s=0.5, text_s=0.25, encode_s=10.0, wait_s=wait) for wait in (5, 1)]
    times = LabellingTimes.of([(15.0, units[0]), (26.5, units[1])])
    assert times == LabellingTimes(start=5.0, computing=21.5, encode=20.0, wait=1.0, beside=1.5)
    _, alone, job, *parts = overhead_rows(200, [19.0, 20.0, 40.0], [times])
    assert alone[1:] == ("20.0", "1.000", "10")
    assert job[1:] == ("21.5", "1.075", "9")
    assert [float(part[2]) for part in parts] == pytest.approx([1.0, 0.05, 0.075, 0.25])


def test_a_first_report_that_is_late_makes_no_run_shorter():
    units = [UnitDone("unit", 0, 1, 0, 1, 100, encode_s=10.0)] * 2
    assert LabellingTimes.of([(18.0, units[0]), (25.5, units[1])]) == LabellingTimes(5.5, 20.0, 20.0, 0.0, 0.0)
