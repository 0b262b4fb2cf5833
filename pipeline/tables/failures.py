"""Documents that could not be labelled: which, why, and whether they are too many to publish.

They are in a snapshot's errors files, and before that in the fragments. Both are read a few objects at a time: a corpus may
have more of them than memory holds.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ErrorBudgetError
from pipeline.storage import TRANSFERS
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import Group, SourceUnit
from pipeline.tables.mapped import Mapped
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


@dataclass(frozen=True, slots=True)
class Failures:
    """Counts what failed in a group of units."""

    fragments: Fragments

    def __call__(self, group: Group) -> tuple[int, Counter[tuple[str, str]]]:
        """Documents in all; how many of them failed, for each stage and reason."""
        documents, reasons = 0, Counter[tuple[str, str]]()
        for some in _few([unit.id for unit in group.units]):
            for table in self.fragments.read_reasons(some):
                documents += len(table)
                counted = table.drop_null().group_by(["stage", "reason"])
                for row in counted.aggregate([([], "count_all")]).to_pylist():
                    reasons[row["stage"], row["reason"]] += row["count_all"]
        return documents, reasons


def check_budget(
    limit: int | float,
    fragments: Fragments,
    groups: dict[str, Group],
    parent: Manifest | None,
    mapped: Mapped = map,
) -> None:
    """Raises ErrorBudgetError where more documents of the groups failed than `limit`: a count, or as a float a share.

    Args:
        limit: the job's max_errors.
        fragments: where each unit of the groups has one.
        groups: by the digest of their inputs; the parent's manifest knows the rows of those that it has too, so that a
            small change of the corpus reads few fragments.
        parent: the newest snapshot.
        mapped: counts several groups at a time.
    """
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for file in parent.files if parent else []:
        if file.inputs in groups:
            known[file.inputs][file.kind] += file.rows
    documents = sum(rows.total() for rows in known.values())
    errors = sum(rows["errors"] for rows in known.values())
    reasons: Counter[tuple[str, str]] = Counter()
    count = Failures(fragments)
    unknown = [group for inputs, group in groups.items() if inputs not in known]
    for group_documents, group_reasons in mapped(count, unknown):
        documents += group_documents
        errors += group_reasons.total()
        reasons += group_reasons
    if errors == 0 or (errors if isinstance(limit, int) else errors / documents) <= limit:
        return
    of_kept = [groups[inputs] for inputs, rows in known.items() if rows["errors"]]
    for _, group_reasons in mapped(count, of_kept):
        reasons += group_reasons
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


def _few(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + TRANSFERS] for start in range(0, len(items), TRANSFERS))
