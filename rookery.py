"""Rookery from Python: for a notebook, or for a task of a scheduler.

::

    plan         what `label` would do, without doing it
    label        run a labelling job: a table's new snapshot
    open_table   a table's newest snapshot as a pyarrow dataset
    score        label some texts in this process, without Ray and without a table

Importing it loads neither torch nor Ray. Functions raise a RookeryError of the kind that says what to do, where the
commands exit with its `exit_code`::

    RookeryError                 1   a fault of ours: report it
    ├── ConfigError              2   change the job file or the settings
    ├── InputError               3   change the corpus, the checkpoint or the permissions
    │   ├── CorpusError, NoBucketError, CheckpointError, AccessError
    ├── ErrorBudgetError         4   too many documents could not be labelled
    ├── ConflictError            5   another run holds what this one wants
    ├── HeldBackError            6   a gate, or a rollback, holds back what this run would publish
    ├── BudgetSpentError         7   the run's budget is spent: the next run goes on
    └── RetryableError          75   run again: nothing is lost
        └── SourceChangedError, StorageError, UnavailableError

A job is given as the path of its YAML file, or as its contents: `{"corpus": {"uris": …}, "checkpoint": …, "table": …}`.
`overrides` are those of `--set`: `["table.uri=out/table"]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import yaml

from pipeline.config.label import Job, StorageSettings
from pipeline.config.label_file import LabelFile
from pipeline.config.loader import load_settings, parse_settings
from pipeline.errors import (
    AccessError,
    BudgetSpentError,
    CheckpointError,
    ConfigError,
    ConflictError,
    CorpusError,
    ErrorBudgetError,
    HeldBackError,
    InputError,
    NoBucketError,
    RetryableError,
    RookeryError,
    SourceChangedError,
    StorageError,
    UnavailableError,
)

__all__ = [
    "AccessError",
    "BudgetSpentError",
    "CheckpointError",
    "ConfigError",
    "ConflictError",
    "CorpusError",
    "ErrorBudgetError",
    "HeldBackError",
    "InputError",
    "LabelSummary",
    "NoBucketError",
    "PlanSummary",
    "RetryableError",
    "RookeryError",
    "SourceChangedError",
    "StorageError",
    "UnavailableError",
    "__version__",
    "label",
    "open_table",
    "plan",
    "score",
]
__version__ = version("rookery")

JobSource = str | Path | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What `label` would do.

    Attributes:
        files: of the corpus.
        stored_bytes: that those files have, as they lie in the store.
        units: of work, as far as the corpus is cut before it is read.
        missing_units: of them those that have to be computed.
        current_snapshot: the number of the snapshot that holds all of this already; None where one would be published.
        scoring_key: digest of all that gives the scores.
        decision_key: digest of all that makes the task's columns of the scores.
    """

    files: int
    stored_bytes: int
    units: int
    missing_units: int
    current_snapshot: int | None
    scoring_key: str
    decision_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """What readers of the table see after `label`.

    Attributes:
        snapshot: its number.
        partial: whether it holds the first documents only, because of `limit`.
        documents: in all: predictions and errors.
        predictions: documents with a row of predictions.
        errors: documents with a row of errors.
        unlabelled: predictions whose label is null, or whose list of labels, entities or answers is empty.
        labels: how many documents have each label; a document may have several.
    """

    snapshot: int
    partial: bool
    documents: int
    predictions: int
    errors: int
    unlabelled: int
    labels: Mapping[str, int]


def plan(job: JobSource, overrides: Sequence[str] = (), *, limit: int | None = None) -> PlanSummary:
    """Compares corpus, checkpoint and table, and computes nothing.

    Args:
        job: the job file's path, or its contents.
        overrides: settings that replace the job's, each `path=value`.
        limit: plan the first documents only; at least 1.

    Raises:
        ConfigError: a setting of the job is wrong.
        InputError: corpus or checkpoint can't be used as they are.
        StorageError: a store failed; run again.

    Example:
        >>> import rookery
        >>> from jobs.sample import CHECKPOINT, CORPUS
        >>> job = {
        ...     "corpus": {"uris": str(CORPUS)},
        ...     "checkpoint": {"uri": str(CHECKPOINT)},
        ...     "table": {"uri": "out/table"},
        ... }
        >>> rookery.plan(job).files
        3
    """
    from pipeline.planning.plan import make_plan
    from pipeline.tables.publish import is_current

    planned = make_plan(_job(job, overrides), _checked_limit(limit))
    current = is_current(planned.snapshots, planned.publication)
    return PlanSummary(
        files=len(planned.corpus.files),
        stored_bytes=sum(file.stored.size for file in planned.corpus.files),
        units=len(planned.units),
        missing_units=len(planned.missing),
        current_snapshot=current.snapshot if current else None,
        scoring_key=planned.scoring.key,
        decision_key=planned.task.key,
    )


def label(job: JobSource, overrides: Sequence[str] = (), *, limit: int | None = None) -> LabelSummary:
    """Labels what is missing and publishes a snapshot, as `rookery label` does; prints what it prints.

    Where everything is published already nothing is done, and the summary is of the snapshot that is there. Ray is
    started in this process where the job names no cluster; import `rookery` before `ray`, so that it listens on
    loopback only.

    Args:
        job: the job file's path, or its contents.
        overrides: settings that replace the job's, each `path=value`.
        limit: label the first documents only, into a snapshot that is marked as partial; at least 1.

    Raises:
        ConfigError: a setting of the job is wrong.
        InputError: corpus or checkpoint can't be used as they are.
        ErrorBudgetError: more documents failed than `max_errors` allows; nothing was published.
        ConflictError: other runs kept publishing meanwhile.
        HeldBackError: a gate holds the result back, or a rollback has undone it; nothing was published.
        BudgetSpentError: the job's budget ends before the units; nothing was published, and what is done is kept.
        RetryableError: a store or Ray failed; run again, finished units are kept.

    Example:
        >>> import rookery
        >>> from jobs.sample import CHECKPOINT, CORPUS
        >>> job = {
        ...     "corpus": {"uris": str(CORPUS)},
        ...     "checkpoint": {"uri": str(CHECKPOINT)},
        ...     "table": {"uri": "out/table"},
        ... }
        >>> rookery.label(job, limit=20).documents  # doctest: +SKIP
        20
    """
    from jobs.label import run_job

    manifest = run_job(_job(job, overrides), limit=_checked_limit(limit))
    assert manifest is not None  # which only a dry run gives
    return LabelSummary(
        snapshot=manifest.snapshot,
        partial=manifest.partial,
        documents=manifest.counts["documents"],
        predictions=manifest.counts["predictions"],
        errors=manifest.counts["errors"],
        unlabelled=manifest.counts["unlabelled"],
        labels=manifest.labels,
    )


def open_table(
    uri: str, snapshot: int | None = None, *, storage: Mapping[str, Any] | None = None
) -> pa_dataset.Dataset:
    """Opens the predictions of one snapshot: a row per document, read when the dataset is.

    Args:
        uri: the table's, as `table.uri` of the job.
        snapshot: its number; the newest complete one without it.
        storage: the job's section `storage`: endpoint, region, profile.

    Returns:
        A dataset with the table's columns, and its partitions' keys as string columns.

    Raises:
        InputError: there is no such snapshot.
        ConfigError: a wrong setting of the store, or a snapshot that a newer Rookery published.
        StorageError: the store failed.

    Example:
        >>> import rookery
        >>> rookery.open_table("out/table").to_table(columns=["id", "label"])  # doctest: +SKIP
    """
    from pipeline.storage.objects import Storage
    from pipeline.tables.predictions import open_predictions
    from pipeline.tables.snapshots import Snapshots

    settings = parse_settings(StorageSettings, yaml.safe_dump(dict(storage or {})), [], "storage")
    snapshots = Snapshots(Storage(settings), uri)
    manifest = snapshots.find(snapshot)
    if manifest is None:
        expected = "complete snapshot" if snapshot is None else f"snapshot {snapshot}"
        raise InputError(
            f"{uri}: has no {expected}; found {snapshots.published() or 'none'}: check the URI, or run `rookery label`"
        )
    return open_predictions(snapshots, manifest)


def score(checkpoint: str | Path, texts: Sequence[str | None], overrides: Sequence[str] = ()) -> pa.Table:
    """Labels texts in this process, with the code of `rookery label` but without Ray and without a table.

    The checkpoint is loaded at each call: give many texts at once. A text that ends the process ends this one.

    Args:
        checkpoint: a folder, a URI or a hub's `owner/name`.
        texts: N texts.
        overrides: settings of the job's sections text, task, compute and storage, each `path=value`:
            `text.max_tokens=512`.

    Returns:
        N rows in the order of `texts`: the columns of the prediction table without those that name a document of a
        corpus (id, source_uri, source_position); then stage, reason and message, which are null where the text has a
        prediction. A text without one (null, or nothing but white space) has null in the task's columns.

    Raises:
        ConfigError: a setting is wrong, or does not suit the checkpoint.
        CheckpointError: no such checkpoint, or one that can't be used.
        StorageError: the store failed.

    Example:
        >>> import rookery
        >>> from jobs.sample import CHECKPOINT
        >>> rookery.score(CHECKPOINT, ["We propose a new trait bound.", ""])["reason"].to_pylist()
        [None, 'empty_text']
    """
    from jobs.score import score_texts

    sections = {"corpus": {"uris": "texts"}, "checkpoint": {"uri": str(checkpoint)}, "table": {"uri": "none"}}
    return score_texts(_job(sections, overrides), texts)


def _job(job: JobSource, overrides: Sequence[str]) -> Job:
    if isinstance(job, Mapping):
        try:
            file = parse_settings(LabelFile, yaml.safe_dump(dict(job)), list(overrides), "job")
        except yaml.YAMLError as error:
            raise ConfigError(
                f"job: expected strings, numbers, lists and sections, as in a job file: {error}"
            ) from error
    else:
        file = load_settings(LabelFile, Path(job), list(overrides))
    if file.checkpoints:
        raise ConfigError(
            "checkpoints: expected one checkpoint and its table; the command `rookery label` takes several"
        )
    return file.jobs[0]


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit}: expected at least 1, or None for every document")
    return limit
