import pytest

from pipeline.messages import listed


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "none"),
        (1, "n0"),
        (2, "n0, n1"),
        (3, "n0, n1 and 1 more"),
        (1502, "n0, n1 and 1,500 more"),
    ],
)
def test_names_are_listed_up_to_a_number(count: int, text: str):
    assert listed([f"n{number}" for number in range(count)], 2) == text
