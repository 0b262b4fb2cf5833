"""Units in columns: what goes in comes out."""

from hypothesis import given, strategies as st

from pipeline.tables.source_units import MADE_AT_ONCE, SourceUnit, SourceUnits

PARTITIONS = st.sampled_from([(), (("day", "1"),), (("day", None), ("part", "é"))])
# a file's name may hold what is no UTF-8, which Python makes surrogates of
NAMES = st.sampled_from(["s3://b/a", "s3://b/é", "file:///\udcff", ""])
UNIT = st.builds(
    SourceUnit,
    st.text("0123456789abcdef", min_size=1, max_size=32),
    NAMES,
    PARTITIONS,
    st.none() | st.integers(0, 2**40),
)


@given(st.lists(UNIT))
def test_what_goes_in_comes_out(units: list[SourceUnit]):
    columns = SourceUnits.of(units)
    assert list(columns) == units
    assert columns == units
    assert [columns[n] for n in range(len(units))] == units
    assert columns[::2] == tuple(units[::2])
    assert len(columns.uris) == len({unit.source_uri for unit in units})


def test_more_units_than_are_made_at_once():
    units = [SourceUnit(f"{n:032x}", f"s3://b/{n // 3}", (), n) for n in range(2 * MADE_AT_ONCE + 1)]
    assert list(SourceUnits.of(iter(units))) == units
