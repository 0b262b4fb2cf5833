"""Documents that could not be labelled: which they are, and why.

They are in a snapshot's errors files, and before that in the fragments. Both are read a few objects at a time: a corpus may
have more of them than memory holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage.objects import TRANSFERS
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import SourceUnit
from pipeline.tables.parquet import read_parquet
from pipeline.tables.snapshots import Failure, Manifest, Snapshots

EXAMPLE_COLUMNS = ["id", "source_uri", "source_position", "message"]
FAILURE_COLUMNS = ["stage", "reason", *EXAMPLE_COLUMNS]
Item = TypeVar("Item")


def count_failures(failed: pa.Table) -> list[Failure]:
    """Failures of documents, given as a table with COLUMNS; the examples are the first by file and position."""
    ordered = failed.sort_by([("source_uri", "ascending"), ("source_position", "ascending")])
    found: list[Failure] = []
    for kind in ordered.group_by(["stage", "reason"]).aggregate([]).to_pylist():
        own = ordered
        for name, value in kind.items():
            own = own.filter(pc.equal(own[name], value))
        (first,) = own.slice(0, 1).to_pylist()
        found.append(Failure(**kind, documents=len(own), example={n: first[n] for n in EXAMPLE_COLUMNS}))
    return merge_failures(found)


def merge_failures(failures: Iterable[Failure]) -> list[Failure]:
    """One for each stage and reason, with the example that came first; the most frequent ones first."""
    found: dict[tuple[str, str], Failure] = {}
    for failure in failures:
        kind = (failure.stage, failure.reason)
        before = found.get(kind, replace(failure, documents=0))
        found[kind] = replace(before, documents=before.documents + failure.documents)
    return sorted(found.values(), key=lambda f: (-f.documents, f.stage, f.reason))


def total_failures(failures: Iterable[Failure]) -> int:
    return sum(failure.documents for failure in failures)


def failures_of_snapshot(snapshots: Snapshots, manifest: Manifest) -> Iterator[pa.Table]:
    """What a snapshot's errors files hold, as tables with COLUMNS."""
    uris = [snapshots.uri(file.path) for file in manifest.files if file.kind == "errors"]
    for some in transfer_batches(uris):
        for blob in snapshots.storage.read_all(some):
            yield read_parquet(blob, FAILURE_COLUMNS).select(FAILURE_COLUMNS)


def failures_of_units(fragments: Fragments, units: Iterable[SourceUnit]) -> Iterator[pa.Table]:
    """What could not be labelled of units, from their fragments, as tables with COLUMNS; each must have one."""
    for some in transfer_batches(list(units)):
        for unit, documents in zip(some, read_failures(fragments, some), strict=True):
            yield failed_of(unit, documents)


def read_failures(fragments: Fragments, units: list[SourceUnit]) -> list[pa.Table]:
    """Of each unit all documents, and why they failed: what `failed_of` takes."""
    columns = ["id", "position", "stage", "reason", "message"]
    return fragments.read_columns([unit.id for unit in units], columns)


def failed_of(unit: SourceUnit, documents: pa.Table) -> pa.Table:
    """Rows of a unit's fragment without a prediction, as a table with COLUMNS."""
    failed = documents.filter(pc.is_valid(documents["reason"]))
    failed = failed.append_column("source_uri", pa.repeat(unit.source_uri, len(failed)))
    return failed.rename_columns({"position": "source_position"}).select(FAILURE_COLUMNS)


def filter_failures(failed: Iterable[pa.Table], reason: str | None, file: str | None) -> Iterator[pa.Table]:
    """Those of one reason, and in files whose URI holds `file`; None: all."""
    for table in failed:
        if reason is not None:
            table = table.filter(pc.equal(table["reason"], reason))
        if file is not None:
            table = table.filter(pc.match_substring(table["source_uri"], file))
        yield table


def transfer_batches(items: list[Item]) -> Iterator[list[Item]]:
    """As many at a time as are transferred at a time."""
    return (items[start : start + TRANSFERS] for start in range(0, len(items), TRANSFERS))
