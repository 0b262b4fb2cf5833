"""What a snapshot says of its units."""

from pathlib import Path

from hypothesis import given, strategies as st

from pipeline.storage.objects import Storage
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshot_units import DigestSet, SnapshotUnits, copy_units, read_units
from pipeline.tables.snapshots import Snapshots
from tests.tables.test_publish import Table, tree

DIGESTS = st.lists(st.binary(min_size=16, max_size=16))


@given(some=DIGESTS, others=DIGESTS)
def test_a_set_of_digests_is_one(some: list[bytes], others: list[bytes]):
    digests, both = DigestSet.of(b"".join(some)), DigestSet.of(b"".join(some)) | DigestSet.of(b"".join(others))
    members = {digest[8:] for digest in some}
    for digest in some + others:
        assert (digest.hex() in digests) == (digest[8:] in members)
        assert digest.hex() in both
    assert None not in digests


def test_a_snapshot_says_its_units_and_groups(tmp_path: Path):
    table = Table(tmp_path / "table")
    units = [table.unit(1), table.unit(2, "b")]
    table.publish(*units)
    said = read_units(table.snapshots, 1)
    assert said is not None
    assert all(unit.id in said.units for unit in units)
    assert f"{3:032d}" not in said.units
    assert all(group.members in said.groups for group in table.publication(*units).groups)
    assert not any(unit.id in said.groups for unit in units)


def test_a_rollback_says_what_its_snapshot_said(tmp_path: Path):
    table = Table(tmp_path / "table")
    table.publish(table.unit(1))
    table.publish(table.unit(1), table.unit(2))
    roll_back(table.snapshots, 1, {})
    units = {path: data for path, data in tree(table.folder).items() if path.endswith(".units")}
    assert units[f"_snapshots/{3:020d}.units"] == units[f"_snapshots/{1:020d}.units"]
    assert len(units) == 3


def test_one_that_says_nothing(tmp_path: Path):
    snapshots = Snapshots(Storage(), str(tmp_path))
    copy_units(snapshots, 1, 2)
    assert read_units(snapshots, 2) is None
    (tmp_path / "_snapshots").mkdir()
    (tmp_path / f"_snapshots/{1:020d}.units").write_bytes(b'{"units": 0, "groups": 0}\n')
    assert isinstance(read_units(snapshots, 1), SnapshotUnits)
