import pytest
from hypothesis import given, strategies as st

from pipeline.messages import did_you_mean, listed


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


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1), st.data())
def test_of_names_the_nearest_is_meant(names: list[str], data: st.DataObject):
    name = data.draw(st.sampled_from(names))
    assert did_you_mean(name, names, "a.") == f"; did you mean a.{name}?"


@pytest.mark.parametrize(
    ("name", "meant"), [("adress", "; did you mean address?"), ("tabel", "; did you mean table?"), ("zzz", "")]
)
def test_a_name_that_is_nearly_right(name: str, meant: str):
    assert did_you_mean(name, ["table", "address", "corpus"]) == meant
