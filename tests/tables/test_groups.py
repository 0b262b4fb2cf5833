"""Which units share a data file: each in one group, no group too large, and a small change changes few."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from hypothesis import given, settings, strategies as st

from pipeline.tables.groups import (
    BUCKET_UNITS,
    HASHES,
    STRETCH_UNITS,
    Group,
    TableLayout,
    halved,
)
from pipeline.tables.hive_paths import partition_path
from pipeline.tables.source_units import SourceUnit

LAYOUT = TableLayout(partition_by=("part",), carried=(), buckets=None)
# many units lie close together, so that halving goes deep
HASH = st.integers(0, HASHES - 1) | st.integers(0, 2**8) | st.integers(HASHES - 2**8, HASHES - 1)


def unit(name: str, file: str, part: str | None = None) -> SourceUnit:
    return SourceUnit(name, f"s3://b/{file}", (("part", part),))


def files(count: int, units_each: int = 1) -> list[SourceUnit]:
    return [unit(f"{n}-{i}", f"{n}.jsonl") for n in range(count) for i in range(units_each)]


def buckets(hashes: list[int]) -> dict[int, list[int]]:
    """The hashes of each bucket's units, in the order of the units."""
    return {bucket: [hashes[n] for n in places] for bucket, places in halved(np.array(hashes, np.uint64))}


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(HASH, unique=True, max_size=400))
def test_every_unit_in_one_bucket_and_no_bucket_too_large(hashes: list[int]):
    found = buckets(hashes)
    assert sorted(hash_ for of_bucket in found.values() for hash_ in of_bucket) == sorted(hashes)
    assert all(0 < len(units) <= BUCKET_UNITS for units in found.values())


@settings(deadline=None)
@given(st.lists(HASH, unique=True, min_size=1, max_size=400))
def test_a_bucket_s_number_is_the_first_bits_of_its_units_hashes(hashes: list[int]):
    for bucket, units in buckets(hashes).items():
        bits = bucket.bit_length() - 1
        assert {hash_ >> (64 - bits) for hash_ in units} == {bucket - 2**bits}


@settings(deadline=None)
@given(st.lists(HASH, unique=True, min_size=1, max_size=400))
def test_a_new_unit_changes_one_bucket(hashes: list[int]):
    old = hashes[:-1]
    before, after = buckets(old), buckets(hashes)
    changed = [bucket for bucket, units in before.items() if after.get(bucket) != units]
    assert len(changed) <= 1


def test_units_with_one_hash_stay_together_however_many():
    assert buckets([7] * (BUCKET_UNITS + 1)) == {2**64 + 7: [7] * (BUCKET_UNITS + 1)}


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


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", None])), max_size=300),
    st.none() | st.integers(1, 5),
)
def test_groups_are_those_of_one_unit_after_the_other(files_: list[tuple[int, str | None]], fixed: int | None):
    units = [unit(f"{n:032x}", f"{file}.jsonl", part) for n, (file, part) in enumerate(files_)]
    layout = replace(LAYOUT, buckets=fixed)
    groups = [(group.partition, group.bucket, group.units) for group in layout.groups(units)]
    assert groups == list(one_after_the_other(units, fixed))


def one_after_the_other(
    units: list[SourceUnit], fixed: int | None
) -> Iterator[tuple[tuple[tuple[str, str | None], ...], int, tuple[SourceUnit, ...]]]:
    """The rule of the layout, unit by unit."""
    partitions = sorted({member.partitions for member in units}, key=lambda values: partition_path(list(values)))
    for partition in partitions:
        members, numbers = [member for member in units if member.partitions == partition], Counter[str]()
        hashed: list[tuple[SourceUnit, int]] = []
        for member in members:
            stretch = f"#{numbers[member.source_uri] // STRETCH_UNITS}" if fixed is None else ""
            numbers[member.source_uri] += 1
            digest = hashlib.sha256(f"{member.source_uri}{stretch}".encode()).digest()
            hashed.append((member, int.from_bytes(digest[:8])))
        if fixed is None:
            of_bucket = sorted(divided(hashed, 1, 0, HASHES))
        else:
            by_number = {number: [m for m, hash_ in hashed if hash_ % fixed == number] for number in range(fixed)}
            of_bucket = [(number, some) for number, some in by_number.items() if some]
        yield from ((partition, bucket, tuple(some)) for bucket, some in of_bucket)


def divided(
    hashed: list[tuple[SourceUnit, int]], bucket: int, low: int, high: int
) -> Iterator[tuple[int, list[SourceUnit]]]:
    if len(hashed) > BUCKET_UNITS and high - low > 1:
        middle = (low + high) // 2
        yield from divided([pair for pair in hashed if pair[1] < middle], 2 * bucket, low, middle)
        yield from divided([pair for pair in hashed if pair[1] >= middle], 2 * bucket + 1, middle, high)
    elif hashed:
        yield bucket, [member for member, _ in hashed]


def inputs(groups: Iterable[Group]) -> list[tuple[int, str]]:
    return [(group.bucket, group.inputs(LAYOUT, "key")) for group in groups]


def test_a_fixed_number_of_buckets_keeps_files_whole():
    layout = TableLayout(partition_by=(), carried=(), buckets=3)
    groups = layout.groups(files(50, 10))
    assert [group.bucket for group in groups] == [0, 1, 2]
    in_groups = Counter(uri for group in groups for uri in {u.source_uri for u in group.units})
    assert set(in_groups.values()) == {1}
