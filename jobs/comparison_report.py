"""The page of `rookery compare --html`: the summary, then labels, flips, scores and partitions."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from pipeline.evaluation.change_charts import change_bar, score_histogram
from pipeline.evaluation.charts import confusion_matrix
from pipeline.evaluation.html_page import Heading, Tile, render_page
from pipeline.evaluation.metrics import Confusion
from pipeline.tables.comparison import Comparison, Side

MATRIX_SIDE = 20  # labels, or sets of them, that most documents have
FLIPS_SHOWN = 20
PARTITIONS_SHOWN = 200


def comparison_page(comparison: Comparison, notes: Sequence[str]) -> str:
    """Writes the page as HTML; `notes` go to its top."""
    before, after = comparison.before, comparison.after
    return render_page(
        files("jobs").joinpath("comparison.html").read_text(encoding="utf-8"),
        heading=Heading(
            title=f"{_table(after)}: {before.snapshot} → {after.snapshot}",
            subtitle=f"{comparison.both:,} documents in both, {comparison.only_before:,} only before, "
            f"{comparison.only_after:,} only after",
            notes=notes,
            facts={"before": _facts(before), "after": _facts(after)},
        ),
        comparison=comparison,
        tiles=_tiles(comparison),
        bars={share.label: _bar(comparison, share.change) for share in comparison.labels},
        matrix=_matrix(comparison) if comparison.flips else None,
        flips=comparison.flips[:FLIPS_SHOWN],
        histogram=score_histogram(comparison.scores.bins) if comparison.scores else None,
        partitions=comparison.partitions[:PARTITIONS_SHOWN],
    )


def _tiles(comparison: Comparison) -> list[Tile]:
    flipped = sum(flip.documents for flip in comparison.flips)
    tiles = [
        Tile("Agreement", "–" if comparison.agreement is None else f"{comparison.agreement:.2%}"),
        Tile("Kappa", "–" if comparison.kappa is None else f"{comparison.kappa:.3f}"),
        Tile("Another label", f"{flipped:,}"),
        Tile("In both", f"{comparison.coverage:.2%}"),
        Tile("PSI of labels", f"{comparison.label_psi:.4f}"),
    ]
    if scores := comparison.scores:
        tiles.append(Tile("Scores moved by", f"{scores.mean_absolute_change:.4f}"))
    return tiles


def _bar(comparison: Comparison, change: float) -> Markup:
    return change_bar(change, max(abs(share.change) for share in comparison.labels))


def _matrix(comparison: Comparison) -> Markup:
    """What documents had (rows) and have (columns)."""
    cells = [Confusion(same.label, same.label, same.documents) for same in comparison.unchanged]
    cells += [Confusion(flip.before, flip.after, flip.documents) for flip in comparison.flips]
    had, either = Counter[str | None](), Counter[str | None]()
    for cell in cells:
        had[cell.true] += cell.documents
        either[cell.true] += cell.documents
        either[cell.given] += cell.documents
    shown = [label for label, _ in either.most_common() if label][:MATRIX_SIDE]
    return confusion_matrix(cells, shown, had, "then")


def _table(side: Side) -> str:
    return side.table_uri.rstrip("/").rpartition("/")[2]


def _facts(side: Side) -> str:
    return (
        f"{side.table_uri}, {side.name}: {side.predictions:,} predictions, {side.errors:,} errors; "
        f"checkpoint {side.checkpoint}, scoring key {side.scoring_key}, decision key {side.decision_key}"
    )
