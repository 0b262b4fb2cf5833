"""What a run has to do: the corpus and the checkpoint against the table. Reads listings and footers, no text; no ray.

Everything that can be wrong with the job is found here, before the first unit.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import BudgetSettings, Job
from pipeline.corpus.carried import CarriedColumns
from pipeline.corpus.carried_types import carried_columns, first_values
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.documents import first_record_problems
from pipeline.corpus.files import Corpus
from pipeline.corpus.formats import FORMATS
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import Pass, passes, read_pass
from pipeline.corpus.units import cut
from pipeline.errors import CorpusError
from pipeline.mapped import Mapped
from pipeline.packed import PackedList
from pipeline.planning.missing_units import MissingUnits
from pipeline.planning.scoring import Scoring
from pipeline.planning.shared_reading import TableWork
from pipeline.planning.survey import Survey, make_survey, table_bucket_explained
from pipeline.storage.objects import Storage
from pipeline.storage.registered_models import REGISTRY
from pipeline.tables.attempts import sweep_marks
from pipeline.tables.editions import Editions
from pipeline.tables.erased_ids import ErasedLists, Erasures
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.fragments import Fragments
from pipeline.tables.groups import TableLayout
from pipeline.tables.partitioning import check_partitions
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import Publication
from pipeline.tables.scratch import Scratch
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.source_units import SourceUnit, SourceUnits
from pipeline.tables.stream_lengths import StreamLengths
from pipeline.tables.unit_ids import UnitIds, UnitIdSet, id_array
from pipeline.tasks.task import Task
from pipeline.terms import FormatName

FIRST_FILES = 5  # of a format, asked whether they have the columns that the job names


@dataclass(frozen=True)
class Plan:
    """Units of work, which of them are done, and what is to be published of them."""

    job: Job
    storage: Storage
    checkpoint: CheckpointFolder
    scoring: Scoring
    task: Task
    layout: TableLayout
    corpus: Corpus
    units: PackedList[Unit]
    finished: UnitIdSet  # ids of the units that have a fragment
    fragment_bytes: int  # of those fragments
    others: tuple[str, ...]  # what lies beside the fragments, of earlier runs and of those at work
    erased: ErasedLists  # whose documents are left out
    limit: int | None
    left_out: UnitIdSet = field(default_factory=UnitIdSet)  # ids of units of the corpus that are no part of this plan

    @cached_property
    def unit_ids(self) -> UnitIds:
        """The id of each of `units`, under this plan's scoring key."""
        return UnitIds(id_array(unit.id(self.scoring.key) for unit in self.units))

    @cached_property
    def missing(self) -> MissingUnits:
        """Ids and units that have no fragment yet, in order; a stream never has one, its parts have."""
        return MissingUnits(self.units, self.unit_ids, ~self.finished.are_in(self.unit_ids.array))

    @property
    def passes(self) -> Iterator[Pass]:
        """The missing units, those together that are read together."""
        return passes(unit for _, unit in self.missing)

    def sweep(self) -> None:
        """Removes what runs that died left in the table and nobody needs any more."""
        sweep_marks(self.fragments, self.others, UnitIdSet(self.missing.ids.array))
        if self.takes_over:
            Scratch(self.fragments).sweep(self.finished)

    @cached_property
    def orphans(self) -> UnitIdSet:
        """Finished units that the corpus no longer has: where scores may be taken over from."""
        return self.finished.without(np.concatenate([self.unit_ids.array, self.left_out.array]))

    @property
    def takes_over(self) -> bool:
        """Whether scores of some documents may be there, or be computed for several of them at once."""
        return bool(self.orphans) or self.job.deduplicate

    @property
    def fragments(self) -> Fragments:
        return Fragments(self.storage, self.job.table.uri, self.scoring.key, self.task.output, self.erased)

    def work(self, run: str = "") -> TableWork:
        """Gives what workers know of the table. `run`: the id under which they leave marks."""
        has_budget = self.job.budget != BudgetSettings()
        return TableWork(self.scoring, self.fragments, self.stream_lengths, self.task, run, has_budget)

    @property
    def editions(self) -> Editions:
        return Editions(self.storage, self.job.table.uri)

    @property
    def stream_lengths(self) -> StreamLengths:
        return StreamLengths(self.storage, self.job.table.uri)

    @cached_property
    def streams(self) -> int:
        """How many files have parts that nobody has counted yet."""
        return sum(unit.slice.is_stream for unit in self.units)

    def cut_streams(self) -> "Plan":
        """Makes this plan anew with the parts of those streams that were read to their end by now."""
        if not self.streams:
            return self
        units = _cut_streams(self.units, self.stream_lengths)
        return replace(self, units=in_their_editions(units, self.editions.read(), self.scoring.key))

    def with_erased_ids(self) -> "Plan":
        """Makes this plan anew with the ids that were erased by now.

        A run asks when it is known to be alive, and again before it publishes: an erasure that begins later sees the
        run and doesn't end before it (erasure.py).
        """
        erased = Erasures(self.storage, self.job.table.uri).read()
        return self if erased == self.erased else replace(self, erased=erased)

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.storage, self.job.table.uri)

    @cached_property
    def publication(self) -> Publication:
        """What readers of the table are to see when every unit has its fragment."""
        units = (
            SourceUnit(id_, unit.file.uri, unit.file.partitions, unit.documents)
            for id_, unit in zip(self.unit_ids, self.units, strict=True)
        )
        return Publication(
            units=SourceUnits.of(units),
            layout=self.layout,
            task=self.task,
            scoring_key=self.scoring.key,
            partial=self.limit is not None,
            rules=publication_rules(self.job),
            checkpoint={
                "uri": _absolute(self.storage, self.scoring.checkpoint_uri, self.checkpoint.path),
                "weights_digest": self.scoring.weights_digest,
                "tokenizer_digest": self.scoring.tokenizer_digest,
                "dtype": self.scoring.dtype,
                "windows": asdict(self.scoring.policy),
                "task": self.checkpoint.head.task,
            },
        )


def make_plan(job: Job, limit: int | None = None, mapped: Mapped = map) -> Plan:
    """Compares corpus, checkpoint and table; `mapped` spreads what is asked of each of many files.

    Raises ConfigError, InputError, StorageError.
    """
    return plan_of(make_survey(job, limit), mapped)


def plans_of(surveys: Sequence[Survey], mapped: Mapped = map) -> list[Plan]:
    """Makes a plan of each survey; the corpus, which is one, is cut once. Raises as `make_plan`."""
    units = cut_corpus(surveys[0], mapped) if surveys else None
    return [plan_of(survey, mapped, units) for survey in surveys]


def cut_corpus(survey: Survey, mapped: Mapped = map) -> PackedList[Unit]:
    """Cuts what a survey has found into units, whatever a table has of them. Raises ConfigError, InputError."""
    job, storage = survey.job, survey.storage
    carried = carried_columns(storage, survey.corpus.files, job.corpus)
    if carried:
        _check_column_keys(survey, carried)
    units = cut(storage, survey.corpus.files, job.corpus, job.units.text_bytes, mapped, carried)
    _check_first_records(storage, units)
    return units if survey.limit is None else PackedList(_limited(storage, units, survey.limit))


def _check_column_keys(survey: Survey, carried: CarriedColumns) -> None:
    """Raises CorpusError for a column whose values can't be partitions, or are too many in a sample of the corpus."""
    types = {field.name: field.type for field in carried.type}
    for key in survey.layout.column_keys:
        type_ = types[key.source]
        if not key.suits(type_):
            expected = "a timestamp, a date, or text that begins with a date" if key.part else "text, integers or dates"
            raise CorpusError(
                f"table.partition_by {key.name!r}: the column {key.source!r} is {type_}; expected {expected}"
            )
        arrays = first_values(survey.storage, survey.corpus.files, carried, key.source)
        values = {value for array in arrays for value in key.values(array)}
        check_partitions([key.name], ({key.name: value} for value in values))


def plan_of(survey: Survey, mapped: Mapped = map, corpus_units: PackedList[Unit] | None = None) -> Plan:
    """Asks the table which of the corpus's units are finished.

    `corpus_units`: what `cut_corpus` makes of the survey, where another checkpoint's plan has it already.

    Raises ConfigError, InputError, StorageError.
    """
    job, storage, limit = survey.job, survey.storage, survey.limit
    task, scoring = survey.scorer.task, survey.scorer.scoring
    units = cut_corpus(survey, mapped) if corpus_units is None else corpus_units
    carried = units[0].reading.carried_type if units else None
    with table_bucket_explained(job):
        units = _cut_streams(units, StreamLengths(storage, job.table.uri))
    units = in_their_editions(units, Editions(storage, job.table.uri).read(), scoring.key)
    listing = Fragments(storage, job.table.uri, scoring.key, task.output).listing(len(units))
    return Plan(
        job=job,
        storage=storage,
        checkpoint=survey.scorer.checkpoint,
        scoring=scoring,
        task=task,
        layout=replace(survey.layout, columns=tuple(carried or ())),
        corpus=survey.corpus,
        units=units,
        finished=listing.finished,
        fragment_bytes=listing.size,
        others=tuple(listing.others),
        erased=survey.erased,
        limit=limit,
    )


def in_their_editions(units: PackedList[Unit], editions: Mapping[str, int], scoring_key: str) -> PackedList[Unit]:
    """Gives each unit its newest edition, by the id of its first."""
    if not editions:
        return units
    firsts = (replace(unit, edition=0) for unit in units)
    return PackedList(replace(first, edition=editions.get(first.id(scoring_key), 0)) for first in firsts)


def publication_rules(job: Job) -> PublicationRules:
    """Gives the job's rules for what may be published."""
    return PublicationRules(ErrorBudget(job.max_errors), job.corpus.duplicate_ids)


def _absolute(storage: Storage, uri: str, folder: Path) -> str:
    """A checkpoint's URI wherever the job ran. The hub's cache calls a folder by its commit."""
    if uri.startswith(REGISTRY):
        return uri
    is_hub = "://" not in uri and not Path(uri).is_dir()
    return f"hf://{uri}@{folder.name}" if is_hub else storage.canonical(uri)


def check_table_writable(plan: Plan) -> None:
    """Raises ConfigError or AccessError where this run could compute, but not keep what it computes; StorageError."""
    uri = plan.job.table.uri
    plan.storage.check_writable(f"{uri.rstrip('/')}/_units", f"table.uri {uri}")


def _check_first_records(storage: Storage, units: Iterable[Unit]) -> None:
    """Asks the first files of each format without a footer whether the columns are there: in one of them will do."""
    samples: dict[FormatName, dict[CorpusFile, Unit]] = defaultdict(dict)
    for unit in units:
        of_format = samples[unit.file.format]
        if len(of_format) < FIRST_FILES:
            of_format.setdefault(unit.file, unit)
    for name in (name for name, format_ in FORMATS.items() if format_.has_columns_in_records):
        problems = {unit: first_record_problems(storage, unit) for unit in samples[name].values()}
        wrong = [(unit, problem) for unit, of_unit in problems.items() for problem in of_unit]
        if wrong and all(problem for _, problem in wrong):
            unit, problem = wrong[0]
            raise CorpusError(f"{unit.file.uri}: {problem}")


def _cut_streams(units: PackedList[Unit], stream_lengths: StreamLengths) -> PackedList[Unit]:
    lengths = stream_lengths.read()
    return PackedList(part for unit in units for part in _parts(unit, lengths)) if lengths else units


def _parts(unit: Unit, lengths: Mapping[str, int]) -> Iterable[Unit]:
    """The parts of a stream that has been counted, or the unit itself."""
    parts = lengths.get(unit.stream_id) if unit.slice.is_stream else None
    return (unit,) if parts is None else (unit.part(number) for number in range(parts))


def _limited(storage: Storage, units: Iterable[Unit], limit: int) -> Iterator[Unit]:
    """The units that hold the first `limit` documents, the last of them cut short."""
    for unit, documents in _counted(storage, units):
        taken = min(documents, limit)
        yield replace(
            unit,
            limit=None if documents < limit else limit,
            documents=taken if unit.documents is not None else None,
        )
        limit -= taken
        if limit <= 0:
            return


def _counted(storage: Storage, units: Iterable[Unit]) -> Iterator[tuple[Unit, int]]:
    """Units and their documents, which are counted where no footer does; streams in parts."""
    for together in passes(units):
        counted = [(unit, unit.documents) for unit in together if unit.documents is not None]
        if len(counted) == len(together):
            yield from counted
        else:
            yield from ((unit, len(documents)) for unit, documents in read_pass(storage, together))
