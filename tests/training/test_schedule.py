import pytest

from pipeline.training.schedule import rate_factor


@pytest.mark.parametrize(
    ("progress", "decay", "expected"),
    [
        (0.0, "linear", 0.0),
        (0.1, "linear", 0.5),
        (0.2, "linear", 1.0),
        (0.6, "linear", 0.5),
        (1.0, "linear", 0.0),
        (0.2, "cosine", 1.0),
        (0.6, "cosine", 0.5),
        (1.0, "cosine", 0.0),
        (0.1, "none", 0.5),
        (0.9, "none", 1.0),
    ],
)
def test_it_rises_and_falls(progress, decay, expected):
    assert rate_factor(progress, 0.2, decay) == pytest.approx(expected)


def test_without_warm_up_it_begins_at_the_top():
    assert rate_factor(0.0, 0.0, "linear") == 1
