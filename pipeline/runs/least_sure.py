"""Documents whose labels a new snapshot is least sure of, as a review would choose them: ids and figures, no text."""

from dataclasses import dataclass, replace

from pipeline.errors import ConfigError
from pipeline.review.choosing import LabelKind, ReviewSize, choose_documents
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots

DOCUMENTS_SHOWN = 12
ROWS_READ = 250_000  # about: whole files, one at least; a second, and 100 MB


@dataclass(frozen=True, slots=True)
class UnsureDocument:
    """A document, the labels that it got, and how sure: `margin` to the next label or, of several, to a threshold."""

    id: str
    labels: tuple[str, ...]
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class LeastSure:
    """The least sure documents, first the least sure one, of `rows` that were looked at."""

    documents: tuple[UnsureDocument, ...]
    rows: int
    several: bool


def least_sure_documents(snapshots: Snapshots, manifest: Manifest) -> LeastSure | None:
    """Looks for them in the files that a snapshot has added, up to ROWS_READ rows; None where labels have no margin.

    Raises StorageError.
    """
    try:
        kind = LabelKind.of(manifest)
    except ConfigError:
        return None
    files = _some_files(manifest)
    if not files:
        return None
    size = ReviewSize(documents=DOCUMENTS_SHOWN, control=0.0, per_label=None, seed=0)
    chosen = choose_documents(snapshots, replace(manifest, files=files), size).sort_by(
        [
            ("margin", "ascending"),
            ("id", "ascending"),
        ]
    )
    documents = tuple(
        UnsureDocument(row["id"], _labels(row["predicted"]), row["score"], row["margin"]) for row in chosen.to_pylist()
    )
    return LeastSure(documents, sum(file.rows for file in files), kind.several)


def _some_files(manifest: Manifest) -> list[SnapshotFile]:
    files, rows = [], 0
    data = [file for file in manifest.files if file.kind == "data"]
    for file in [file for file in data if file.state == "added"] or data:
        if rows >= ROWS_READ:
            break
        files.append(file)
        rows += file.rows
    return files


def _labels(predicted: str | list[str] | None) -> tuple[str, ...]:
    if isinstance(predicted, str):
        return (predicted,)
    return tuple(predicted or ())
