"""The estimator on made-up populations whose totals are known."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.planning.sample_totals import Estimated, total_of

PLACES, DRAWS = 64, 200


def population(random: np.random.Generator, sigma: float, trend: float) -> npt.NDArray[np.float64]:
    """What lies in each of 20,000 bytes: skewed, in stretches that are alike, and with a trend."""
    stretches = np.exp(random.normal(0, sigma / 2, 200)).repeat(100)
    return random.lognormal(0, sigma, 20_000) * stretches * np.linspace(1, 1 + trend, 20_000)


def places(values: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    step = len(values) / PLACES
    at = ((np.arange(PLACES) + random.uniform()) * step).astype(int)
    return np.take(values, at)


@settings(max_examples=12, derandomize=True)
@given(sigma=st.floats(0.05, 0.8), trend=st.floats(0, 5), seed=st.integers(0, 2**32))
def test_the_interval_covers_the_truth_about_as_often_as_it_says(sigma: float, trend: float, seed: int):
    random = np.random.default_rng(seed)
    values = population(random, sigma, trend)
    estimates = [total_of(places(values, random), len(values)) for _ in range(DRAWS)]
    covered = np.mean([one.low <= values.sum() <= one.high for one in estimates])
    assert covered > 0.88  # 0.95 but for what skewness takes from any interval of 64 values
    assert np.mean([one.value for one in estimates]) == pytest.approx(values.sum(), rel=0.1)


def test_a_trend_is_no_error():
    """Simple random sampling would give an interval ten times as wide."""
    random, values = np.random.default_rng(0), np.linspace(1, 100, 20_000)
    one = total_of(places(values, random), len(values))
    assert one.relative_half_width < 0.02
    assert one.low <= values.sum() <= one.high


def test_what_is_alike_everywhere_is_known_but_for_what_no_place_can_show():
    assert total_of(np.full(64, 2.5), 1000) == Estimated.known(2500)
    assert total_of(np.full(64, 2.5), 1000, 0.05).relative_half_width == pytest.approx(0.1, rel=0.01)
    assert total_of(np.zeros(64), 1000, 0.05) == Estimated.known(0)


def test_students_interval_is_scipys():
    from scipy import stats

    expected = stats.t.interval(0.95, 7, 100, 10)
    assert (Estimated.around(100, 0.1, 7).low, Estimated.around(100, 0.1, 7).high) == pytest.approx(expected)
    assert Estimated.around(100, 3, 7).low == 0


def test_a_quotient_is_as_unsure_as_both():
    one = Estimated(100, 97, 103).over(Estimated(20, 19.2, 20.8))
    assert (one.value, one.low, one.high) == pytest.approx((5, 4.75, 5.25))
    moved = one.plus(1).times(2)
    assert (moved.value, moved.low, moved.high) == pytest.approx((12, 11.5, 12.5))
