"""Which units share a data file: each in one group, no group too large, and a small change changes few."""

from collections import Counter

from hypothesis import given, settings, strategies as st

from pipeline.tables.groups import (
    BUCKET_UNITS,
    HASHES,
    STRETCH_UNITS,
    Group,
    SourceUnit,
    TableLayout,
    halved,
)

LAYOUT = TableLayout(partition_by=("part",), carried=(), buckets=None)
# many units lie close together, so that halving goes deep
HASH = st.integers(0, HASHES - 1) | st.integers(0, 2**8) | st.integers(HASHES - 2**8, HASHES - 1)


def unit(name: str, file: str, part: str | None = None) -> SourceUnit:
    return SourceUnit(name, f"s3://b/{file}", (("part", part),))


def files(count: int, units_each: int = 1) -> list[SourceUnit]:
    return [unit(f"{n}-{i}", f"{n}.jsonl") for n in range(count) for i in range(units_each)]


def buckets(hashes: list[int]) -> dict[int, list[SourceUnit]]:
    return dict(halved([unit(f"{hash_}", "f") for hash_ in hashes], hashes))


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(HASH, unique=True, max_size=400))
def test_every_unit_in_one_bucket_and_no_bucket_too_large(hashes: list[int]):
    found = buckets(hashes)
    assert sorted(int(u.id) for units in found.values() for u in units) == sorted(hashes)
    assert all(0 < len(units) <= BUCKET_UNITS for units in found.values())


@settings(deadline=None)
@given(st.lists(HASH, unique=True, min_size=1, max_size=400))
def test_a_bucket_s_number_is_the_first_bits_of_its_units_hashes(hashes: list[int]):
    for bucket, units in buckets(hashes).items():
        bits = bucket.bit_length() - 1
        assert {int(u.id) >> (64 - bits) for u in units} == {bucket - 2**bits}


@settings(deadline=None)
@given(st.lists(HASH, unique=True, min_size=1, max_size=400))
def test_a_new_unit_changes_one_bucket(hashes: list[int]):
    old = hashes[:-1]
    before, after = buckets(old), buckets(hashes)
    changed = [bucket for bucket, units in before.items() if after.get(bucket) != units]
    assert len(changed) <= 1


def test_units_with_one_hash_stay_together_however_many():
    units = files(BUCKET_UNITS + 1)
    assert list(halved(units, [7] * len(units))) == [(2**64 + 7, units)]


def test_a_small_corpus_is_one_group_for_each_partition():
    units = [unit(str(n), f"{n}.jsonl", part) for n in range(20) for part in ("a", "b", None)]
    groups = LAYOUT.groups(units)
    assert [(group.folder, group.bucket, len(group.units)) for group in groups] == [
        ("part=__HIVE_DEFAULT_PARTITION__/", 1, 20),
        ("part=a/", 1, 20),
        ("part=b/", 1, 20),
    ]


def test_a_partition_is_divided_by_its_own_size():
    units = files(500) + [unit(f"p{n}", f"p{n}.jsonl", "small") for n in range(3)]
    small = [group for group in LAYOUT.groups(units) if group.folder == "part=small/"]
    assert [(group.bucket, len(group.units)) for group in small] == [(1, 3)]


def test_a_large_file_is_spread_in_stretches():
    (whole,) = LAYOUT.groups(files(1, BUCKET_UNITS))
    assert len(whole.units) == BUCKET_UNITS
    groups = LAYOUT.groups(files(1, 1000))
    assert all(len(group.units) <= BUCKET_UNITS for group in groups)
    of_stretch: dict[int, set[int]] = {}
    for group in groups:
        for member in group.units:
            of_stretch.setdefault(int(member.id[2:]) // STRETCH_UNITS, set()).add(group.bucket)
    assert len(of_stretch) == 63
    assert {len(found) for found in of_stretch.values()} == {1}


def test_the_order_of_the_files_does_not_matter():
    units = files(300, 2)
    by_file = [units[n : n + 2] for n in range(0, len(units), 2)]
    backwards = [member for pair in reversed(by_file) for member in pair]
    assert inputs(LAYOUT.groups(units)) == inputs(LAYOUT.groups(backwards))


def inputs(groups: list[Group]) -> list[tuple[int, str]]:
    return [(group.bucket, group.inputs(LAYOUT, "key")) for group in groups]


def test_a_fixed_number_of_buckets_keeps_files_whole():
    layout = TableLayout(partition_by=(), carried=(), buckets=3)
    groups = layout.groups(files(50, 10))
    assert [group.bucket for group in groups] == [0, 1, 2]
    in_groups = Counter(uri for group in groups for uri in {u.source_uri for u in group.units})
    assert set(in_groups.values()) == {1}
