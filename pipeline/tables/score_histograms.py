"""With which scores documents have their labels: a histogram of each label, SCORE_BINS bins of equal width from 0 to 1.

A document counts once for each label that it has, so that a label's bins add up to its number of documents. Of
several entities of one kind in a document the surest counts.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SCORE_BINS = 10  # of equal width, from 0 to 1
Histograms = Mapping[str, list[int]]  # of each label, documents by bin


def score_histograms(rows: pa.Table) -> dict[str, list[int]]:
    """Counts the documents that have each label (kind of entity, question with an answer) by their score for it.

    A table without such a column, or without scores: nothing.
    """
    labelled = _labelled(rows)
    if labelled is None:
        return {}
    labelled = labelled.filter(pc.is_valid(labelled["label"]))
    surest = labelled.group_by(["document", "label"]).aggregate([("score", "max")])
    scores = surest["score_max"].to_numpy().astype(np.float64)
    bins = np.clip(np.floor(scores * SCORE_BINS), 0, SCORE_BINS - 1).astype(np.int64)
    encoded = surest["label"].combine_chunks().dictionary_encode()
    cells = encoded.indices.to_numpy() * SCORE_BINS + bins
    names = encoded.dictionary.to_pylist()
    counts = np.bincount(cells, minlength=len(names) * SCORE_BINS).reshape(-1, SCORE_BINS)
    return dict(sorted(zip(names, counts.tolist(), strict=True)))


def sum_histograms(histograms: Iterable[Histograms], labels: Mapping[str, int]) -> dict[str, list[int]]:
    """Adds up the histograms of files; nothing where some file has none, as those that an older version wrote.

    Args:
        histograms: of each file.
        labels: how many documents have each label, in all files.
    """
    sums = {label: np.zeros(SCORE_BINS, np.int64) for label in sorted(labels)}
    for histogram in histograms:
        for label, counts in histogram.items():
            sums[label] += counts
    is_whole = all(sums[label].sum() == documents for label, documents in labels.items())
    return {label: counts.tolist() for label, counts in sums.items()} if is_whole else {}


def _labelled(rows: pa.Table) -> pa.Table | None:
    """Columns `document` (a row's number), `label`, null for none, and `score`: a row for each label of a document."""
    names = {*rows.schema.names}
    if {"label", "score"} <= names:
        return _table(pa.array(np.arange(len(rows))), rows["label"], rows["score"])
    if {"labels", "scores"} <= names:
        return _scores_of_labels(rows["labels"].combine_chunks(), rows["scores"].combine_chunks())
    for name, label in (("entities", "label"), ("answers", "question")):
        if name in names:
            column = rows[name].combine_chunks()
            values = column.flatten()
            labels = pc.struct_field(values, label)
            if name == "answers":
                is_answered = pc.is_valid(pc.struct_field(values, "answer"))
                labels = pc.if_else(is_answered, labels, pa.scalar(None, pa.string()))
            return _table(pc.list_parent_indices(column), labels, pc.struct_field(values, "score"))
    return None


def _scores_of_labels(labels: pa.Array, scores: pa.Array) -> pa.Table:
    """Of the scores of all labels those of the labels that documents have."""
    values = scores.flatten()
    of_all = _table(pc.list_parent_indices(scores), pc.struct_field(values, "label"), pc.struct_field(values, "score"))
    known = pc.unique(of_all["label"])
    keys, has = (
        pc.add(pc.multiply(pc.cast(document, pa.int64()), len(known)), pc.cast(pc.index_in(label, known), pa.int64()))
        for document, label in (
            (of_all["document"], of_all["label"]),
            (pc.list_parent_indices(labels), labels.flatten()),
        )
    )
    return of_all.filter(pc.is_in(keys, has))


def _table(documents: pa.Array, labels: pa.Array, scores: pa.Array) -> pa.Table:
    return pa.table({"document": pc.cast(documents, pa.int64()), "label": labels, "score": scores})
