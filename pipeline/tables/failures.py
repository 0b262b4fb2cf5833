"""Documents that could not be labelled: which they are, and why.

They are in a snapshot's errors files, and before that in the fragments. Both are read a few objects at a time: a
corpus may have more of them than memory holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage.objects import TRANSFERS
from pipeline.tables.fragments import Fragments
from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.tables.snapshots import Failure, Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit

EXAMPLE_COLUMNS = ["id", "source_uri", "source_position", "message"]
FAILURE_COLUMNS = ["stage", "reason", *EXAMPLE_COLUMNS]
Item = TypeVar("Item")


def count_failures(failed: pa.Table) -> list[Failure]:
    """Counts failures of documents, a table with FAILURE_COLUMNS; the examples are the first by file and position."""
    ordered = failed.sort_by([("source_uri", "ascending"), ("source_position", "ascending")])
    failures: list[Failure] = []
    for kind in ordered.group_by(["stage", "reason"]).aggregate([]).to_pylist():
        of_kind = ordered
        for name, value in kind.items():
            of_kind = of_kind.filter(pc.equal(of_kind[name], value))
        (first,) = of_kind.slice(0, 1).to_pylist()
        failures.append(Failure(**kind, documents=len(of_kind), example={n: first[n] for n in EXAMPLE_COLUMNS}))
    return merge_failures(failures)


def merge_failures(failures: Iterable[Failure]) -> list[Failure]:
    """Adds failures up to one for each stage and reason, with the first of their examples; most frequent ones first."""
    by_kind: dict[tuple[str, str], Failure] = {}
    for failure in failures:
        kind = (failure.stage, failure.reason)
        before = by_kind.get(kind, replace(failure, documents=0))
        by_kind[kind] = replace(before, documents=before.documents + failure.documents)
    return sorted(by_kind.values(), key=lambda f: (-f.documents, f.stage, f.reason))


def total_failures(failures: Iterable[Failure]) -> int:
    """Adds up the documents."""
    return sum(failure.documents for failure in failures)


def failures_of_snapshot(snapshots: Snapshots, manifest: Manifest) -> Iterator[pa.Table]:
    """Reads a snapshot's errors files, as tables with FAILURE_COLUMNS."""
    uris = [snapshots.uri(file.path) for file in manifest.files if file.kind == "errors"]
    for some in transfer_batches(uris):
        for blob in snapshots.storage.read_all(some):
            yield read_parquet(blob, FAILURE_COLUMNS).select(FAILURE_COLUMNS)


def failures_of_units(fragments: Fragments, units: Iterable[SourceUnit]) -> Iterator[pa.Table]:
    """Reads the failed documents of units, each of which must have a fragment, as tables with FAILURE_COLUMNS."""
    for some in transfer_batches(list(units)):
        for unit, documents in zip(some, read_failures(fragments, some), strict=True):
            yield failed_of(unit, documents)


def read_failures(fragments: Fragments, units: list[SourceUnit]) -> list[pa.Table]:
    """Reads of each unit all documents, and why they failed: what `failed_of` takes. Raises FileNotFoundError."""
    columns = ["id", "position", "stage", "reason", "message"]
    return fragments.read_columns([unit.id for unit in units], columns)


def failed_of(unit: SourceUnit, documents: pa.Table) -> pa.Table:
    """Picks the rows of a unit's fragment without a prediction, as a table with FAILURE_COLUMNS."""
    failed = documents.filter(pc.is_valid(documents["reason"]))
    failed = failed.append_column("source_uri", pa.repeat(unit.source_uri, len(failed)))
    return failed.rename_columns({"position": "source_position"}).select(FAILURE_COLUMNS)


def filter_failures(failed: Iterable[pa.Table], reason: str | None, file: str | None) -> Iterator[pa.Table]:
    """Picks the failures of one reason, and in files whose URI holds `file`; None: all."""
    for rows in failed:
        if reason is not None:
            rows = rows.filter(pc.equal(rows["reason"], reason))
        if file is not None:
            rows = rows.filter(pc.match_substring(rows["source_uri"], file))
        yield rows


def transfer_batches(items: list[Item]) -> Iterator[list[Item]]:
    """Cuts a list into as many as storage transfers at a time."""
    return (items[start : start + TRANSFERS] for start in range(0, len(items), TRANSFERS))
