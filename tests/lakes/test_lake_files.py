"""What a commit changes: for any lake table and any snapshot."""

import json
from types import SimpleNamespace
from typing import cast

from hypothesis import given, strategies as st

from pipeline.lakes.lake_files import CommitIds, LakeVersion, difference, source_digest
from pipeline.tables.snapshots import Manifest

digests = st.sampled_from([f"{n:064x}" for n in range(6)])
names = st.one_of(
    st.builds(lambda sha, token: f"{1:020d}-{sha}-{token:016x}.parquet", digests, st.integers(0, 2)),
    st.sampled_from(["part-0.c000.snappy.parquet", "compacted.parquet"]),
)


def manifest(rows: dict[str, int]) -> Manifest:
    files = [SimpleNamespace(kind="data", sha256=sha256, rows=count) for sha256, count in rows.items()]
    errors = [SimpleNamespace(kind="errors", sha256="e" * 64, rows=1)]
    return cast(Manifest, SimpleNamespace(snapshot=7, files=files + errors))


@given(there=st.dictionaries(names, st.integers(-1, 2)), wanted=st.dictionaries(digests, st.integers(1, 2)))
def test_a_change_leaves_exactly_the_snapshot(there: dict[str, int], wanted: dict[str, int]):
    version = LakeVersion(
        "s3://lake", {f"s3://lake/data/{name}": rows for name, rows in there.items()}, None, None, None
    )
    change = difference(version, manifest(wanted), "s3://lake/", "f" * 16)
    after = {path: rows for path, rows in version.files.items() if path not in change.removed}
    assert not after.keys() & change.added.keys()
    assert not change.added.keys() & version.files.keys()  # no path comes back
    after |= {path: file.rows for path, file in change.added.items()}
    assert len(after) == len(wanted)
    assert {str(source_digest(path)): rows for path, rows in after.items()} == wanted
    again = difference(LakeVersion("s3://lake", after, None, None, None), manifest(wanted), "s3://lake", "0" * 16)
    assert not again.added
    assert not again.removed


def test_ids_are_read_as_they_were_written():
    ids = CommitIds("s3://t/topics", "12", "content", "key", "decision", "files")
    assert CommitIds.read(json.loads(json.dumps(ids.properties())) | {"operation": "append"}) == ids
    assert CommitIds.read({"rookery.table": "s3://t/topics"}) is None
