"""Texts scored in this process by what `rookery label` uses, without Ray and without a table."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.connection import actor_threads
from pipeline.config.label import Job
from pipeline.planning.scoring import Scoring, open_scorer
from pipeline.schema import DOCUMENTS, ERROR_FIELDS, predictions_schema
from pipeline.storage.objects import Storage
from pipeline.tables.fragments import fragment
from pipeline.tasks.task import Task
from pipeline.text.packing import split_packs

TEXTS_AT_ONCE = 1000  # packed and computed together: bounds what is held beside the texts


def score_texts(job: Job, texts: Sequence[str | None]) -> pa.Table:
    """Scores N texts with the job's checkpoint, windows, task and dtype; its corpus and table are not looked at.

    Returns N rows in the order of `texts`: the columns that predictions have but those of a corpus, then why a text
    has none. Raises ConfigError, CheckpointError, StorageError.
    """
    from pipeline.cluster.encode_stage import with_logits  # imports torch
    from pipeline.inference.predictor import Predictor

    scorer = open_scorer(Storage(job.storage), job)
    checkpoint, task, scoring = scorer.checkpoint, scorer.task, scorer.scoring
    packer = scoring.packer(scorer.tokenizer)
    predictor = Predictor.load(
        checkpoint.path, device=job.compute.device, dtype=scoring.dtype, threads=actor_threads(job.compute)
    )
    parts = [_schema(task).empty_table()]
    for documents in _documents(texts):
        packs = packer.packs("texts", documents)
        parts.append(_rows(with_logits(packs, predictor.predict_all(split_packs(packs))), task, scoring))
    return pa.concat_tables(parts)


def _documents(texts: Sequence[str | None]) -> Iterator[pa.Table]:
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        rows = [{"id": None, "position": start + n, "text": text} for n, text in enumerate(some)]
        yield pa.Table.from_pylist(rows, schema=DOCUMENTS)


def _schema(task: Task) -> pa.Schema:
    predictions = predictions_schema(task.fields, [])
    of_corpus = ("id", "source_uri", "source_position")
    fields = [field.with_nullable(True) for field in predictions if field.name not in of_corpus]
    return pa.schema([*fields, *ERROR_FIELDS])


def _rows(logits: pa.Table, task: Task, scoring: Scoring) -> pa.Table:
    """LOGITS of N texts -> N rows; a text without a prediction has null in the task's columns."""
    records = pa.Table.from_struct_array(logits["documents"].chunk(0).flatten())
    rows = fragment(records, task.outputs(logits), task.output)
    rows = rows.append_column("scoring_key", pa.repeat(scoring.key, len(rows)))
    rows = rows.append_column("decision_key", pa.repeat(task.key, len(rows)))
    predicted = pc.is_null(rows["reason"])
    outputs = rows[task.output.name].filter(predicted).combine_chunks()
    # the row of `outputs` that a text's prediction is; null where it has none
    places = pc.if_else(predicted, pc.subtract(pc.cumulative_sum(predicted.cast(pa.int64())), 1), None)
    decisions = task.decide(outputs) if len(outputs) else [pa.nulls(0, field.type) for field in task.fields]
    rows = rows.drop_columns([task.output.name])
    for field, values in zip(task.fields, decisions, strict=True):
        rows = rows.append_column(field.name, values.take(places.combine_chunks()))
    schema = _schema(task)
    return rows.select(schema.names).cast(schema)
