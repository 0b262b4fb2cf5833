"""Whether readers may see what a run would publish: the job's gates, between a whole snapshot and its manifest. No ray.

What a gate holds back is kept as a candidate. A later run with the same content finds it, and judges it again only
where the limits, the gold corpus or the current snapshot are others: its manifest's `run` holds what was found.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.config.gates import GateSettings
from pipeline.errors import ConfigError, HeldBackError
from pipeline.identity import digest
from pipeline.planning.gold import Gold
from pipeline.planning.survey import Survey
from pipeline.tables.candidates import CandidateSnapshots
from pipeline.tables.comparison import compare_snapshots, label_column
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.verdicts import GATES, Verdict, judge_comparison, judge_gold, judgement, verdict_line, verdicts_of


@dataclass(frozen=True)
class Gatekeeper:
    """Judges what a job would publish. A job without gates lets everything through."""

    survey: Survey

    def check(self) -> None:
        """Raises ConfigError or CorpusError, before anything is computed, where the gates could not judge the result.

        Partial snapshots are not judged: no reader takes one for the table.
        """
        if not self._judges:
            return
        column = label_column([field.name for field in self.survey.scorer.task.fields])
        if column is None:
            raise ConfigError(
                "gates: expected a checkpoint that gives labels, for limits are on these; found one for "
                f"{self.survey.scorer.checkpoint.head.task}: leave gates out"
            )
        latest = self._snapshots.latest()
        current = label_column([of["name"] for of in latest.columns]) if latest else column
        if latest and current != column:
            raise ConfigError(
                f"gates: snapshot {latest.snapshot}, the current one, has {current or 'no labels'!r} where this job "
                f"would publish {column!r}, and these can't be compared: give the job a table of its own, or leave "
                "gates out once"
            )
        _ = self._gold  # reads it

    def __call__(self, manifest: Manifest) -> Manifest:
        """Judges a whole snapshot that is not visible yet, and gives it with what was found in its `run`.

        Raises:
            HeldBackError: a gate holds it back; it is kept as a candidate.
            StorageError: the store failed; run again.
        """
        if not self._judges:
            return manifest
        judged = self._judged(manifest)
        if broken := [verdict for verdict in verdicts_of(judged.run) if verdict.is_broken]:
            self._candidates.keep(judged)
            LastSurvey(self.survey.storage, self._uri).write(self.survey.digest, judged.content)
            raise HeldBackError(self._message(judged, broken))
        return judged

    def unchanged_candidate(self) -> Manifest | None:
        """Gives the candidate that was made of what this survey sees; None where a plan has to tell."""
        last = LastSurvey(self.survey.storage, self._uri).read()
        return self.find(last.content) if last and last.digest == self.survey.digest else None

    def find(self, content: str) -> Manifest | None:
        """Gives the candidate with this content on top of the current snapshot: there is nothing to compute or write.

        None too where ids have to be counted again, of which a manifest knows no examples.
        """
        candidate = self._candidates.find(content)
        is_refused = (
            candidate and candidate.counts["duplicate_ids"] and self.survey.job.corpus.duplicate_ids == "refuse"
        )
        return None if is_refused else candidate

    def let_through(self, candidate: Manifest, run: dict[str, Any]) -> Manifest:
        """Judges a candidate by the gates as they are now and publishes it. Raises as a call, and ConflictError."""
        return self._candidates.publish(self(candidate), run)

    @property
    def _judges(self) -> bool:
        return self._gates.are_set and self.survey.limit is None

    @property
    def _gates(self) -> GateSettings:
        return self.survey.job.gates

    @property
    def _uri(self) -> str:
        return self.survey.job.table.uri

    @property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.survey.storage, self._uri)

    @property
    def _candidates(self) -> CandidateSnapshots:
        return CandidateSnapshots(self._snapshots)

    @cached_property
    def _gold(self) -> Gold | None:
        column = label_column([field.name for field in self.survey.scorer.task.fields])
        if self._gates.gold is None or column is None:
            return None
        return Gold.read(self.survey.storage, self._gates.gold, column)

    def _judged(self, manifest: Manifest) -> Manifest:
        settings = self._gates.model_dump(mode="json")
        judged_by = digest("gates/1", settings, self._gold.digest if self._gold else None, manifest.parent)
        if manifest.run.get(GATES, {}).get("judged_by") == judged_by:
            return manifest
        verdicts = [*self._compared(manifest), *self._scored(manifest)]
        return replace(manifest, run=manifest.run | judgement(judged_by, manifest.parent, verdicts))

    def _compared(self, manifest: Manifest) -> Iterable[Verdict]:
        """Nothing for a table's first snapshot."""
        if manifest.parent is not None:
            current = self._snapshots.read(manifest.parent)
            comparison = compare_snapshots((self._snapshots, current), (self._snapshots, manifest))
            yield from judge_comparison(self._gates, comparison)

    def _scored(self, manifest: Manifest) -> Iterable[Verdict]:
        if self._gold:
            yield judge_gold(self._gates, *self._gold.score(self._snapshots, manifest))

    def _message(self, candidate: Manifest, broken: list[Verdict]) -> str:
        uri, number, parent = self._uri, candidate.snapshot, candidate.parent
        compare = f"`rookery compare {uri}@{parent} {uri}@candidate-{number}`"
        rows = self._snapshots.uri(self._snapshots.folder("data", number))
        lines = "".join(f"\n  {verdict_line(verdict)}" for verdict in broken)
        return (
            f"{uri}: candidate {number} is held back, for it breaks {len(broken)} of the job's gates:{lines}\n"
            f"Nothing was published: readers see {f'snapshot {parent}' if parent else 'no snapshot yet'}. Look at it: "
            f"{compare if parent else rows}. Let it through: `rookery publish {uri} {number}`, or other limits in gates"
        )
