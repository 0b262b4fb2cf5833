"""Two snapshots, document by document: whose label is another one, whose score has moved.

Documents are joined by id, in DuckDB, which puts on disk what memory doesn't hold. Of ids that several documents have,
the first of one is compared with the first of the other, by file and position.

Kappa is Cohen's (1960): agreement beyond that of two who give the same labels as often, but by chance. PSI, the
population stability index, is the sum over bins of (after - before) * ln(after / before), of shares that are FLOOR at
least, for an empty bin would make it infinite. It sees shares alone: labels that two groups of documents have swapped
leave it at 0.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import duckdb

from pipeline.errors import ConfigError
from pipeline.tables.predictions import open_predictions
from pipeline.tables.score_histograms import SCORE_BINS
from pipeline.tables.snapshots import Manifest, Snapshots

FLOOR = 1e-4  # of a bin's share
EXAMPLES = 3  # ids of each flip
VERDICTS = {  # what a document's label is, by the column that a table has
    "label": "label",
    "labels": "array_to_string(list_sort(labels), ', ')",  # several at once: all of them, or it is a flip
}
Pairs = Mapping[tuple[str | None, str | None], int]  # documents by their label before and after


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two snapshots."""

    table_uri: str
    snapshot: int
    is_candidate: bool  # held back: no reader sees it
    predictions: int
    errors: int
    checkpoint: str
    scoring_key: str
    decision_key: str

    @property
    def name(self) -> str:
        """Names it in its table: `snapshot 3` or `candidate 3`."""
        return f"{'candidate' if self.is_candidate else 'snapshot'} {self.snapshot}"


@dataclass(frozen=True, slots=True)
class Flip:
    """Documents that have one label in one snapshot and another in the other; None for no label."""

    before: str | None
    after: str | None
    documents: int
    examples: list[str]  # the first ids


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Documents that have one label in both snapshots; None for no label."""

    label: str | None
    documents: int


@dataclass(frozen=True, slots=True)
class LabelShare:
    """Documents that have a label, of all predictions of each snapshot.

    Of the documents that are in both, `kept` have it in both, `lost` only before and `gained` only after.
    """

    label: str
    before: int
    after: int
    share_before: float
    share_after: float
    kept: int
    lost: int
    gained: int

    @property
    def change(self) -> float:
        """How far its share has moved, up or down."""
        return self.share_after - self.share_before

    @property
    def in_either(self) -> int:
        """Documents in both snapshots that have it in one of them at least."""
        return self.kept + self.lost + self.gained

    @property
    def flips(self) -> float:
        """The share of these that have it in one only."""
        return (self.lost + self.gained) / max(1, self.in_either)


@dataclass(frozen=True, slots=True)
class ScoreDrift:
    """Scores of the documents that both snapshots have: means, mean absolute change, and PSI over SCORE_BINS.

    `bins`: of each, documents before and after.
    """

    mean_before: float
    mean_after: float
    mean_absolute_change: float
    psi: float
    bins: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One document that has another label."""

    id: str
    before: str | None
    after: str | None
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """What has changed in one partition."""

    partition: dict[str, str | None]
    documents: int  # in both
    agreement: float
    label_psi: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two snapshots of one corpus. Shares are of documents that both have a prediction for, but where it says else."""

    before: Side
    after: Side
    both: int
    only_before: int
    only_after: int
    agreement: float | None  # None where no document is in both
    kappa: float | None  # None where chance alone would agree always
    label_psi: float
    flips: list[Flip] = field(default_factory=list)  # most frequent first
    unchanged: list[Unchanged] = field(default_factory=list)  # most frequent first
    labels: list[LabelShare] = field(default_factory=list)  # largest change first
    scores: ScoreDrift | None = None  # None where the tables have no column `score`
    partitions: list[PartitionChange] = field(default_factory=list)  # least agreement first
    rows: list[ChangedRow] = field(default_factory=list)  # by id; as many as were asked for

    @property
    def coverage(self) -> float:
        """Share of the documents of either snapshot that both have a prediction for."""
        return self.both / max(1, self.both + self.only_before + self.only_after)


def compare_snapshots(
    before: tuple[Snapshots, Manifest], after: tuple[Snapshots, Manifest], *, rows: int = 0
) -> Comparison:
    """Compares the predictions of two snapshots, each with its table; names the first `rows` that changed, by id.

    Raises ConfigError for tables without labels, or of different tasks; StorageError.
    """
    column = _label_column(before[1], after[1])
    keys = [key for key in after[1].partition_by if key in before[1].partition_by]
    # else DuckDB would put them into the working directory
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"temp_directory": folder}) as connection:
        connection.register("before_rows", open_predictions(*before))
        connection.register("after_rows", open_predictions(*after))
        has_score = all("score" in _names(manifest) for _, manifest in (before, after))
        repeats = any(manifest.counts["duplicate_ids"] for _, manifest in (before, after))
        connection.execute(_joined(column, keys, has_score=has_score, repeats=repeats))
        comparison = _measured(connection, _side(*before), _side(*after), keys)
        return replace(comparison, rows=_changed_rows(connection, rows)) if rows else comparison


def label_column(names: Collection[str]) -> str | None:
    """Gives which of a table's columns says its labels; None where none does."""
    return next((name for name in VERDICTS if name in names), None)


def _label_column(before: Manifest, after: Manifest) -> str:
    columns = [label_column(_names(manifest)) for manifest in (before, after)]
    if columns[0] is None or columns[0] != columns[1]:
        found = " and ".join(repr(column or "no labels") for column in columns)
        raise ConfigError(
            f"snapshots {before.snapshot} and {after.snapshot}: expected two tables with the column 'label', or two "
            f"with 'labels'; found {found}"
        )
    return columns[0]


def _names(manifest: Manifest) -> set[str]:
    return {column["name"] for column in manifest.columns}


def _side(snapshots: Snapshots, manifest: Manifest) -> Side:
    return Side(
        table_uri=snapshots.table_uri,
        snapshot=manifest.snapshot,
        is_candidate=manifest.snapshot in snapshots.candidates(),
        predictions=manifest.counts["predictions"],
        errors=manifest.counts["errors"],
        checkpoint=str(manifest.checkpoint.get("uri", "")),
        scoring_key=manifest.scoring_key,
        decision_key=manifest.decision_key,
    )


def _joined(column: str, keys: list[str], *, has_score: bool, repeats: bool) -> str:
    """The statement that makes the table `joined`: a row for each document of either snapshot."""
    number = "row_number() over (partition by id order by source_uri, source_position)" if repeats else "1"
    score = "score" if has_score else "null::double"
    partition = "".join(f", {_quoted(key)}" for key in keys)
    labels = "labels" if column == "labels" else "[label]"
    rows = f"select id, {number} as n, {VERDICTS[column]} as verdict, {labels} as labels, {score} as score{partition}"
    partitions = "".join(f", coalesce(a.{name}, b.{name}) as {name}" for name in map(_quoted, keys))
    return f"""
        create temp table joined as
        select coalesce(b.id, a.id) as id, b.id is not null as is_before, a.id is not null as is_after,
               b.verdict as before, a.verdict as after, b.labels as labels_before, a.labels as labels_after,
               b.score as score_before, a.score as score_after{partitions}
        from ({rows} from before_rows) b full outer join ({rows} from after_rows) a on b.id = a.id and b.n = a.n
    """


def _quoted(key: str) -> str:
    """A hive key as SQL's name of a column: it is the corpus's, and may hold a quote."""
    return '"' + key.replace('"', '""') + '"'


def _measured(connection: duckdb.DuckDBPyConnection, before: Side, after: Side, keys: list[str]) -> Comparison:
    both, only_before, only_after = connection.execute(
        "select count_if(is_before and is_after), count_if(not is_after), count_if(not is_before) from joined"
    ).fetchone() or (0, 0, 0)
    pairs = connection.execute(
        f"select before, after, count(*), min(id, {EXAMPLES}) from joined where is_before and is_after group by all"
    ).fetchall()
    counts = {(one, other): n for one, other, n, _ in pairs}
    flips = [Flip(one, other, n, list(ids)) for one, other, n, ids in pairs if one != other]
    unchanged = [Unchanged(one, n) for one, other, n, _ in pairs if one == other]
    labels = _label_shares(connection, before, after)
    return Comparison(
        before=before,
        after=after,
        both=both,
        only_before=only_before,
        only_after=only_after,
        agreement=agreement(counts) if counts else None,
        kappa=kappa(counts),
        label_psi=psi((share.share_before, share.share_after) for share in labels),
        flips=sorted(flips, key=lambda flip: (-flip.documents, flip.before or "", flip.after or "")),
        unchanged=sorted(unchanged, key=lambda same: (-same.documents, same.label or "")),
        labels=labels,
        scores=_score_drift(connection),
        partitions=_partitions(connection, keys) if keys else [],
    )


def _label_shares(connection: duckdb.DuckDBPyConnection, before: Side, after: Side) -> list[LabelShare]:
    rows = connection.execute("""
        select label,
               count_if(side = 'before'),
               count_if(side = 'after'),
               count_if(side = 'before' and is_both and coalesce(list_contains(others, label), false)),
               count_if(side = 'before' and is_both and not coalesce(list_contains(others, label), false)),
               count_if(side = 'after' and is_both and not coalesce(list_contains(others, label), false))
        from (select unnest(labels_before) as label, 'before' as side, is_after as is_both, labels_after as others
              from joined where is_before
              union all
              select unnest(labels_after), 'after', is_before, labels_before from joined where is_after)
        where label is not null group by label
    """).fetchall()
    shares = [
        LabelShare(label, b, a, b / max(1, before.predictions), a / max(1, after.predictions), *moved)
        for label, b, a, *moved in rows
    ]
    return sorted(shares, key=lambda share: (-abs(share.change), share.label))


def _score_drift(connection: duckdb.DuckDBPyConnection) -> ScoreDrift | None:
    before, after, change = connection.execute("""
        select avg(score_before), avg(score_after), avg(abs(score_after - score_before)) from joined
        where is_before and is_after
    """).fetchall()[0]
    if change is None:
        return None
    bins = connection.execute(f"""
        select bin, count_if(side = 'before'), count_if(side = 'after')
        from (select {_bin("score_before")} as bin, 'before' as side from joined where is_before and is_after
              union all select {_bin("score_after")}, 'after' from joined where is_before and is_after)
        where bin is not null group by bin
    """).fetchall()
    by_bin = {int(bin_): (b, a) for bin_, b, a in bins}
    counts = [by_bin.get(bin_, (0, 0)) for bin_ in range(SCORE_BINS)]
    n_before, n_after = (max(1, sum(of_side)) for of_side in zip(*counts, strict=True))
    filled = ((b / n_before, a / n_after) for b, a in counts if b or a)
    return ScoreDrift(before, after, change, psi(filled), counts)


def _changed_rows(connection: duckdb.DuckDBPyConnection, most: int) -> list[ChangedRow]:
    found = connection.execute(f"""
        select id, before, after, score_before, score_after from joined
        where is_before and is_after and before is distinct from after order by id limit {most}
    """).fetchall()
    return [ChangedRow(*row) for row in found]


def _bin(score: str) -> str:
    return f"least(floor({score} * {SCORE_BINS}), {SCORE_BINS - 1})"


def _partitions(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> list[PartitionChange]:
    names = ", ".join(map(_quoted, keys))
    rows = connection.execute(f"""
        select {names}, before, after, count(*) from joined where is_before and is_after group by all
    """).fetchall()
    counts: dict[tuple[str | None, ...], dict[tuple[str | None, str | None], int]] = {}
    for *values, one, other, n in rows:
        counts.setdefault(tuple(values), {})[one, other] = n
    changes = [
        PartitionChange(
            partition=dict(zip(keys, values, strict=True)),
            documents=sum(pairs.values()),
            agreement=agreement(pairs),
            label_psi=_psi_of_pairs(pairs),
        )
        for values, pairs in counts.items()
    ]
    return sorted(changes, key=lambda change: (change.agreement, sorted(map(str, change.partition.values()))))


def _psi_of_pairs(pairs: Pairs) -> float:
    before, after = _given(pairs)
    total = sum(pairs.values())
    return psi((before[verdict] / total, after[verdict] / total) for verdict in before | after)


def psi(shares: Iterable[tuple[float, float]]) -> float:
    """Computes the population stability index of bins, each a share before and a share after."""
    floored = [(max(before, FLOOR), max(after, FLOOR)) for before, after in shares]
    return math.fsum((after - before) * math.log(after / before) for before, after in floored)


def agreement(pairs: Pairs) -> float:
    """Computes the share of documents whose two labels are the same; there must be some."""
    return sum(n for (one, other), n in pairs.items() if one == other) / sum(pairs.values())


def kappa(pairs: Pairs) -> float | None:
    """Computes Cohen's kappa from the number of documents of each pair of labels.

    None for no documents, and where both have given one and the same label only.
    """
    total = sum(pairs.values())
    if not total:
        return None
    before, after = _given(pairs)
    observed = agreement(pairs)
    chance = sum(before[verdict] * after[verdict] for verdict in before) / total**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def _given(pairs: Pairs) -> tuple[Counter[str | None], Counter[str | None]]:
    """How often each label was given before, and after."""
    before, after = Counter[str | None](), Counter[str | None]()
    for (one, other), n in pairs.items():
        before[one] += n
        after[other] += n
    return before, after
