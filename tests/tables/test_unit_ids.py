"""Ids of units in arrays: the same sequence and the same set as Python's own."""

from hypothesis import given, strategies as st

from pipeline.tables.unit_ids import UnitIds, UnitIdSet, id_array

IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32) | st.text("ab", min_size=1, max_size=3))


@given(IDS, IDS)
def test_they_are_what_python_s_are(some: list[str], others: list[str]):
    ids, found = UnitIds(id_array(some)), UnitIdSet.of(some)
    assert (list(ids), len(ids), ids == some) == (some, len(some), True)
    assert [ids[n] for n in range(-len(some), len(some))] == some * 2
    assert ids[1:] == some[1:]
    assert (set(found), len(found), found == set(some)) == (set(some), len(set(some)), True)
    assert [id_ in found for id_ in others] == [id_ in set(some) for id_ in others]
    assert found.are_in(id_array(others)).tolist() == [id_ in set(some) for id_ in others]
    assert found.without(id_array(others)) == set(some) - set(others)
    assert found - set(others) == set(some) - set(others)
    assert (found == UnitIdSet.of(others)) == (set(some) == set(others))


def test_nothing_else_is_an_id():
    assert UnitIdSet.of(["a"]) != {1}
    assert "a" * 33 not in UnitIdSet.of(["a" * 32])
