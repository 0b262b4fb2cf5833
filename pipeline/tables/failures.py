"""Documents that could not be labelled: which, why, and whether they are too many to publish.

They are in a snapshot's errors files, and before that in the fragments. Both are read a few objects at a time: a corpus may
have more of them than memory holds.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ErrorBudgetError
from pipeline.storage import TRANSFERS
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import Group, SourceUnit
from pipeline.tables.snapshots import Manifest, Snapshots

COLUMNS = ["id", "source_uri", "source_position", "stage", "reason", "message"]
REASONS_NAMED = 3
T = TypeVar("T")


def of_snapshot(snapshots: Snapshots, manifest: Manifest) -> Iterator[pa.Table]:
    """What a snapshot's errors files hold, as tables with COLUMNS."""
    uris = [snapshots.uri(file.path) for file in manifest.files if file.kind == "errors"]
    for some in _few(uris):
        for blob in snapshots.storage.read_all(some):
            yield pq.read_table(io.BytesIO(blob), columns=COLUMNS).select(COLUMNS)


def of_units(fragments: Fragments, units: Iterable[SourceUnit]) -> Iterator[pa.Table]:
    """The same, from the fragments of units; each must have one."""
    for some in _few(list(units)):
        tables = fragments.read([unit.id for unit in some])
        for unit, documents in zip(some, tables, strict=True):
            failed = documents.filter(pa.compute.is_valid(documents["reason"]))
            failed = failed.append_column("source_uri", pa.repeat(unit.source_uri, len(failed)))
            yield failed.rename_columns({"position": "source_position"}).select(COLUMNS)


def summarize(
    failures: Iterable[pa.Table], limit: int
) -> tuple[Counter[tuple[str, str]], list[dict[str, Any]]]:
    """How often each stage and reason is there, and the first `limit` documents."""
    counts: Counter[tuple[str, str]] = Counter()
    first: list[dict[str, Any]] = []
    for table in failures:
        for row in table.group_by(["stage", "reason"]).aggregate([([], "count_all")]).to_pylist():
            counts[row["stage"], row["reason"]] += row["count_all"]
        first += table.slice(0, limit - len(first)).to_pylist()
    return counts, first


def check_budget(
    limit: int | float, fragments: Fragments, groups: dict[str, Group], parent: Manifest | None
) -> None:
    """Raises ErrorBudgetError where more documents of the groups failed than `limit`: a count, or as a float a share.

    Args:
        limit: the job's max_errors.
        fragments: where each unit of the groups has one.
        groups: by the digest of their inputs; the parent's manifest knows the rows of those that it has too, so that a
            small change of the corpus reads few fragments.
        parent: the newest snapshot.
    """
    documents, errors = _count(fragments, groups, parent)
    if errors == 0 or (errors if isinstance(limit, int) else errors / documents) <= limit:
        return
    units = (unit for group in groups.values() for unit in group.units)
    reasons, _ = summarize(of_units(fragments, units), 0)
    allowed = f"{limit:,}" if isinstance(limit, int) else f"{limit * 100:g}% of them"
    named = ", ".join(
        f"{reason} ({stage}) {count:,}"
        for (stage, reason), count in reasons.most_common(REASONS_NAMED)
    )
    raise ErrorBudgetError(
        f"{fragments.table_uri}: {errors:,} of {documents:,} documents could not be labelled, max_errors allows {allowed}; "
        f"most frequent: {named}. Nothing was published; finished units are kept. Look at them with `rookery errors --config` and this job file, "
        "fix the documents or raise max_errors, then run again"
    )


def _count(
    fragments: Fragments, groups: dict[str, Group], parent: Manifest | None
) -> tuple[int, int]:
    """Documents of the groups, and how many of them failed."""
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for file in parent.files if parent else []:
        known[file.inputs][file.kind] += file.rows
    rows = sum((known[inputs] for inputs in groups if inputs in known), Counter())
    documents, errors = rows.total(), rows["errors"]
    unknown = (group.units for inputs, group in groups.items() if inputs not in known)
    for some in _few([unit.id for unit in chain.from_iterable(unknown)]):
        for reasons in fragments.read_reasons(some):
            documents += len(reasons)
            errors += len(reasons) - reasons.null_count
    return documents, errors


def _few(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + TRANSFERS] for start in range(0, len(items), TRANSFERS))
