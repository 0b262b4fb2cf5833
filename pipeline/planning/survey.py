"""What a run sees before it opens any file of the corpus: the listing, the checkpoint, the table's layout.

It tells whether anything has changed since the newest snapshot was published: if not, no footer is read, and no Ray
starts.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version

from pipeline.config.label import Job
from pipeline.corpus.carried import column_name
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.files import Corpus, discover, partition_keys
from pipeline.corpus.overlaps import check_apart
from pipeline.corpus.units import reading_of
from pipeline.errors import ConfigError, NoBucketError
from pipeline.identity import long_digest
from pipeline.planning.scoring import Scorer, open_scorer
from pipeline.schema import predictions_schema
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import ErasedLists, Erasures
from pipeline.tables.groups import LAYOUT_VERSION, TableLayout
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.partitioning import ColumnKey, check_partitions
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tasks.task import Task
from pipeline.terms import MANIFEST_VERSION


@dataclass(frozen=True)
class Survey:
    """All that decides what a run will publish, but for what the corpus's files hold: their versions stand for that."""

    job: Job
    storage: Storage
    scorer: Scorer
    layout: TableLayout
    corpus: Corpus
    erased: ErasedLists
    limit: int | None

    @cached_property
    def digest(self) -> str:
        """Digest of it: two runs with one digest plan the same units and publish the same content.

        This Rookery's version is in it: another one may cut files otherwise.
        """
        corpus, layout, reading = self.job.corpus, self.layout, reading_of(self.job.corpus)
        return long_digest(
            "survey/1",
            [version("rookery"), MANIFEST_VERSION, LAYOUT_VERSION],
            map(_identity, self.corpus.files),
            [corpus.id_column, reading.text_form, corpus.max_document_bytes, self.job.units.text_bytes, self.limit],
            [self.job.table.partition_by, corpus.columns, layout.carried, layout.buckets],
            [self.scorer.scoring.key, self.scorer.task.key],
            [self.erased.names, self.erased.finished],
        )


def make_survey(job: Job, limit: int | None = None, corpus: Corpus | None = None) -> Survey:
    """Lists the corpus, unless another checkpoint's survey gives it as `corpus`, and opens the checkpoint.

    Raises ConfigError, InputError, StorageError.
    """
    storage = Storage(job.storage)
    check_apart(storage, {"corpus.uris": job.corpus}, {"table.uri": job.table.uri}, job.checkpoint)
    scorer = open_scorer(storage, job)
    corpus = corpus or discover(storage, job.corpus)
    layout = _layout(job, corpus.files, scorer.task)
    with table_bucket_explained(job):
        erased = Erasures(storage, job.table.uri).read()
    return Survey(job=job, storage=storage, scorer=scorer, layout=layout, corpus=corpus, erased=erased, limit=limit)


def make_surveys(jobs: Sequence[Job], limit: int | None = None) -> list[Survey]:
    """Makes a survey of each job: one corpus, which is listed once, for several checkpoints and tables.

    Raises ConfigError where two have one table, and as `make_survey`.
    """
    tables: dict[str, str] = {}
    for job in jobs:
        uri = job.table.uri
        other = tables.setdefault(Storage(job.storage).canonical(uri).rstrip("/"), uri)
        if len(tables) < len(jobs) and other is not uri:
            raise ConfigError(f"checkpoints: {other} and {uri} are one table; give each checkpoint its own")
    first = make_survey(jobs[0], limit)
    return [first, *(make_survey(job, limit, first.corpus) for job in jobs[1:])]


@contextlib.contextmanager
def table_bucket_explained(job: Job) -> Iterator[None]:
    """Makes a bucket that isn't there a mistake in the job, where it is the table's: raises ConfigError."""
    try:
        yield
    except NoBucketError as error:
        raise ConfigError(f"table.uri {job.table.uri}: {error}") from error


def unchanged_snapshot(survey: Survey) -> Manifest | None:
    """Gives the newest snapshot where it was published from what this survey sees; None where a plan has to tell.

    That is also where ids may have to be counted again: a manifest knows no examples of those that several documents
    have.
    """
    uri = survey.job.table.uri
    last = LastSurvey(survey.storage, uri).read()
    if last is None or last.digest != survey.digest:
        return None
    newest = Snapshots(survey.storage, uri).latest(partial=survey.limit is not None)
    if newest is None or newest.content != last.content:
        return None
    is_refused = newest.counts["duplicate_ids"] and survey.job.corpus.duplicate_ids == "refuse"
    return None if is_refused else newest


def _identity(file: CorpusFile) -> tuple[object, ...]:
    stored, lake = file.stored, file.lake.form if file.lake else ()
    return stored.uri, stored.size, stored.version, file.format, file.compression, file.partitions, *lake


def _layout(job: Job, files: Sequence[CorpusFile], task: Task) -> TableLayout:
    keys = partition_keys(files)
    by_text = {text: _column_key(job, text, keys) for text in job.table.partition_by}
    column_keys = tuple(key for key in by_text.values() if key)
    partition_by = [key.name if key else text for text, key in by_text.items()]
    hive_keys = [name for name in partition_by if name in keys]
    if hive_keys:
        check_partitions(hive_keys, ({key: dict(file.partitions).get(key) for key in hive_keys} for file in files))
    columns = [key for key in keys if job.corpus.carry is None or key in job.corpus.carry]
    carried = tuple(key for key in columns if key not in partition_by)
    _check_names_differ({key: keys[key] for key in (*hive_keys, *carried)}, task)
    _check_columns_differ(job, {key.name for key in column_keys if key.part}, {*hive_keys, *carried}, task)
    return TableLayout(tuple(partition_by), carried, job.table.buckets, column_keys)


def _column_key(job: Job, text: str, hive_keys: Mapping[str, str]) -> ColumnKey | None:
    """What of `table.partition_by` is a column. Raises ConfigError for what is neither that nor a hive key."""
    key = ColumnKey.parse(text)
    if key.source in (*job.corpus.columns, *map(column_name, job.corpus.columns)):
        return replace(key, source=column_name(key.source))
    if key.part or text not in hive_keys:
        raise ConfigError(
            f"table.partition_by {text!r}: the corpus has no such hive key; found {list(hive_keys) or 'none'}. A "
            "column has to be among corpus.columns"
        )
    return None


def _check_columns_differ(job: Job, parts: set[str], hive_keys: set[str], task: Task) -> None:
    """As `_check_names_differ`, for columns of the corpus."""
    named = _names_of_table(task) | {key.casefold(): f"the hive key {key!r}" for key in hive_keys}
    named |= {name.casefold(): f"{name!r}, which is a key of table.partition_by" for name in parts}
    for name in job.corpus.columns:
        this = f"{name!r}, another of corpus.columns"
        other = named.setdefault(column_name(name).casefold(), this)
        if other != this:
            raise ConfigError(
                f"corpus.columns {name!r} can't be told from {other}: engines know no case in the names of columns; "
                "leave it out, or rename it in the files"
            )


def _names_of_table(task: Task) -> dict[str, str]:
    columns = ("snapshot", "stage", "reason", "message", *predictions_schema(task.fields, []).names)
    return {name.casefold(): f"{name!r}, which is one of the columns of the table" for name in columns}


def _check_names_differ(keys: dict[str, str], task: Task) -> None:
    """DuckDB, Snowflake, BigQuery and Spark know no case in the names of columns."""
    named = _names_of_table(task)
    for key, uri in keys.items():
        other = named.setdefault(key.casefold(), f"{key!r} of {uri}")
        if other != f"{key!r} of {uri}":
            raise ConfigError(
                f"corpus.carry: the hive key {key!r} of {uri} can't be told from {other}: engines know no case in the "
                "names of columns; list the keys to carry without it, or rename its folders"
            )
