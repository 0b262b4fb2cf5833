"""What a publication must have, whatever its content: documents and predictions, few errors, ids that identify."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from pipeline.config.corpus import DuplicateIds
from pipeline.errors import CorpusError, ErrorBudgetError
from pipeline.mapped import Mapped
from pipeline.tables.duplicates import Duplicates, find_duplicates
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.failures import merge_failures, total_failures
from pipeline.tables.fragments import Fragments
from pipeline.tables.group_tallies import Digests, GroupTallies
from pipeline.tables.groups import Groups
from pipeline.tables.snapshots import Failure, Manifest

UNPUBLISHED = "Nothing was published; finished units are kept"


@dataclass(frozen=True, slots=True)
class PublicationRules:
    """A job's rules: they decide whether something is published, not what."""

    error_budget: ErrorBudget
    duplicate_ids: DuplicateIds


@dataclass(slots=True)
class Totals:
    """What the documents of a publication come to."""

    documents: int = 0
    failures: list[Failure] = field(default_factory=list)
    duplicates: Duplicates = field(default_factory=Duplicates)
    erased: int = 0  # documents of the corpus that are none of these

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Gives them as they were when a snapshot was published, without the examples of duplicates."""
        duplicates = Duplicates(manifest.counts["duplicate_ids"])
        return cls(manifest.counts["documents"], manifest.failures, duplicates)


def count_totals(fragments: Fragments, groups: Groups, mapped: Mapped = map) -> Totals:
    """Counts documents, failures and duplicate ids of groups whose units all have fragments.

    Writes tallies, and nothing that readers of the table see.
    """
    tallies, totals = GroupTallies(fragments), Totals()

    def digests() -> Iterator[Digests]:
        for tally in tallies.of(groups, mapped):
            totals.documents += tally.documents
            totals.erased += tally.erased
            totals.failures = merge_failures([*totals.failures, *tally.failures])
            yield tally.digests

    totals.duplicates = find_duplicates(tallies, groups, digests(), mapped)
    return totals


def check_rules(rules: PublicationRules, table_uri: str, totals: Totals, state: str = UNPUBLISHED) -> None:
    """Refuses what may not be published.

    Args:
        rules: the job's.
        table_uri: the table that is meant.
        totals: of the documents.
        state: what is there now, in a sentence without its full stop.

    Raises:
        CorpusError: there is no document, or documents share their ids and the job refuses that.
        ErrorBudgetError: there are more errors than the job allows, or no prediction.
    """
    if not totals.documents:
        raise CorpusError(
            f"corpus.uris: the corpus has no document, its files are empty; give files that hold some. {state}"
        )
    if excess := rules.error_budget.excess(total_failures(totals.failures), totals.documents):
        raise ErrorBudgetError(f"{table_uri}: {excess}. {state}.\n{_listed(failure_lines(totals.failures))}")
    if totals.duplicates.ids and rules.duplicate_ids == "refuse":
        raise CorpusError(_refusal(totals.duplicates, state))


def failure_lines(failures: list[Failure]) -> list[str]:
    """Writes a line for each reason, with an example."""
    return [
        f"{f.reason} ({f.stage}) {f.documents:,}, such as id {f.example['id']!r} in {f.example['source_uri']} at "
        f"{f.example['source_position']}: {f.example['message']}"
        for f in failures
    ]


def _refusal(duplicates: Duplicates, state: str) -> str:
    lines = [f"{id_!r} in {first} and in {second}" for id_, first, second in duplicates.examples]
    if duplicates.ids > len(lines):
        lines.append(f"and {duplicates.ids - len(lines):,} more")
    ids = "1 id is" if duplicates.ids == 1 else f"{duplicates.ids:,} ids are"
    return (
        f"corpus.duplicate_ids: {ids} on more than one document, on {duplicates.documents:,} in all. {state}.\n"
        f"{_listed(lines)}\n"
        "Give each document an id of its own (corpus.id_column), or set corpus.duplicate_ids: keep"
    )


def _listed(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
