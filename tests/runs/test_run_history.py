"""What a run remembers of its units: bounded, and adding up to what was reported."""

import pytest
from hypothesis import given, strategies as st

from pipeline.runs.run_history import BUCKETS, SLOWEST, SlowestUnits, Throughput, work_seconds
from pipeline.runs.unit_done import UnitDone

UNITS = st.lists(st.tuples(st.integers(0, 10**7), st.floats(0.01, 1e6), st.floats(0, 1e5)), min_size=1, max_size=60)


@given(UNITS)
def test_no_token_is_lost_however_long_it_takes(units: list[tuple[int, float, float]]):
    throughput, clock = Throughput(), 0.0
    for tokens, seconds, encode in units:
        clock += seconds
        throughput.add(tokens, max(0.0, clock - encode), clock)
    rates = throughput.rates(clock)
    assert 1 <= len(rates) <= BUCKETS
    width = throughput.bucket_seconds
    last = clock - width * (len(rates) - 1)
    total = rates[:-1].sum() * width + rates[-1] * last
    assert total == pytest.approx(sum(tokens for tokens, _, _ in units), rel=1e-6)


def test_tokens_lie_where_they_were_computed():
    throughput = Throughput()
    throughput.add(100, 2.0, 4.0)
    throughput.add(30, 3.5, 6.5)
    assert throughput.rates(6.6).tolist() == pytest.approx([0, 0, 50, 55, 10, 10, 5 / 0.6])
    assert throughput.rates(6.4).tolist() == pytest.approx([0, 0, 50, 55, 10, 15 / 1.4])
    throughput.add(0, 0, BUCKETS + 0.5)  # which makes buckets twice as wide
    assert throughput.bucket_seconds == 2
    assert throughput.rates(8.0).tolist() == pytest.approx([0, 52.5, 10, 2.5])


@given(st.lists(st.floats(0, 100), max_size=50))
def test_the_slowest_units_are_kept_slowest_first(seconds: list[float]):
    slowest = SlowestUnits()
    for number, value in enumerate(seconds):
        slowest.add(UnitDone(f"{number}", 0, 1, 0, 1, 10, encode_s=value, wait_s=1000.0))
    kept = [work_seconds(unit) for unit in slowest]
    assert kept == [value for value in sorted(seconds, reverse=True) if value][:SLOWEST]
