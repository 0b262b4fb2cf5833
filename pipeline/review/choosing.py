"""Which documents people should look at: those whose label is least sure, and some at random to measure by.

How sure a label is, its margin: of one label, how far its probability is above the next one's; of several, how far the
probability that is nearest to its threshold is from it. The control share is drawn first, from all documents, so that
what it says holds for the table. Both go by a digest of seed and id, whatever the files' order.
"""

import tempfile
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.tables.comparison import label_column
from pipeline.tables.predictions import open_predictions
from pipeline.tables.snapshots import Manifest, Snapshots

LEAST_SURE, CONTROL = "least sure", "control"
_ONE = """
    label AS predicted, score, margin,
    coalesce(label, list_sort(list_transform(scores, lambda s: {'score': -s.score, 'label': s.label}))[1].label)
      AS about
"""
_SEVERAL = """
    labels AS predicted, nearest.sureness AS score, nearest.margin AS margin, nearest.label AS about
"""
_NEAREST = """
    (SELECT *, list_sort(list_transform(scores, lambda s, n: {
      'margin': abs(s.score - thresholds[n]),
      'label': s.label,
      'sureness': if(list_contains(labels, s.label), s.score, 1 - s.score)::DOUBLE
    }))[1] AS nearest FROM predictions, (SELECT $thresholds::DOUBLE[] AS thresholds))
"""
_CAP = "QUALIFY row_number() OVER (PARTITION BY about ORDER BY margin, draw, id) <= {}"
_CHOSEN = f"""
    WITH judged AS (
      SELECT id, source_uri, source_position, content_sha256, {{judged}}, md5($seed || ':' || id) AS draw
      FROM {{predictions}}
    ),
    drawn AS (SELECT * FROM judged ORDER BY draw, id, source_uri, source_position LIMIT $control),
    others AS (SELECT * FROM judged ANTI JOIN drawn USING (id, source_uri, source_position) {{cap}}),
    chosen AS (
      SELECT *, '{CONTROL}' AS review_reason FROM drawn UNION ALL
      SELECT *, '{LEAST_SURE}' FROM (FROM others ORDER BY margin, draw, id LIMIT $least)
    )
    SELECT * EXCLUDE (about, draw) FROM chosen ORDER BY source_uri, source_position
"""


@dataclass(frozen=True, slots=True)
class ReviewSize:
    """How many documents to choose: of them a share at random, and of the others so many about one label at most."""

    documents: int
    control: float
    per_label: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class LabelKind:
    """What a table's labels are: their names, and whether a document may have several."""

    labels: tuple[str, ...]
    several: bool

    @classmethod
    def of(cls, manifest: Manifest) -> "LabelKind":
        """Reads it from a manifest. Raises ConfigError for a table that gives no labels with scores."""
        names = {column["name"] for column in manifest.columns}
        column = label_column(names)
        labels = manifest.checkpoint.get("labels")
        if not (column and labels and "scores" in names):
            raise ConfigError(
                f"snapshot {manifest.snapshot}: has no labels with scores, so that nobody can tell which are least "
                "sure; expected the table of a classification"
            )
        return cls(tuple(labels), column == "labels")


def choose_documents(snapshots: Snapshots, manifest: Manifest, size: ReviewSize) -> pa.Table:
    """Chooses documents, sorted as the corpus has them: by file and position.

    Columns: id, source_uri, source_position, content_sha256, predicted (a string, or a list of them), score, margin,
    review_reason. Raises ConfigError for a table without labels.
    """
    kind = LabelKind.of(manifest)
    control = round(size.documents * size.control)
    values: dict[str, Any] = {"seed": str(size.seed), "control": control, "least": size.documents - control}
    if kind.several:
        thresholds = manifest.checkpoint["thresholds"]
        values["thresholds"] = [thresholds[label] for label in kind.labels]  # scores are in the same order
    # else DuckDB would put what memory doesn't hold into the working directory
    with (
        tempfile.TemporaryDirectory(prefix="rookery-") as folder,
        duckdb.connect(config={"temp_directory": folder, "memory_limit": "1GB"}) as connection,
    ):
        connection.register("predictions", open_predictions(snapshots, manifest))
        query = _CHOSEN.format(
            judged=_SEVERAL if kind.several else _ONE,
            predictions=_NEAREST if kind.several else "predictions",
            cap=_CAP.format(size.per_label) if size.per_label is not None else "",
        )
        return connection.sql(query, params=values).to_arrow_table()
