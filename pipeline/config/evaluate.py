"""The job file of `rookery evaluate`: the labelling job's, with labels and an output."""

from typing import Any, cast

from pydantic import ConfigDict, Field, model_validator

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.config.label import Job
from pipeline.config.values import Name, Settings


class EvaluationSettings(Settings):
    """Which documents measure the checkpoint, and where the figures go."""

    output: Name = Field(
        description="The folder for metrics.json and report.html, local or any fsspec scheme.",
        examples=["out/evaluation"],
    )
    test: Name = Field(default="test", description="The split that is measured, as `corpus.split_column` calls it.")
    validation: Name = Field(
        default="validation", description="The split that `--fit` fits, as `corpus.split_column` calls it."
    )


class EvaluationJob(Job):
    """One evaluation: the job that would label this corpus, and the labels that it should give."""

    # the validator below gives a table where there is none, which an editor should know
    model_config = ConfigDict(json_schema_extra=lambda schema: cast(list[str], schema["required"]).remove("table"))

    corpus: LabelledCorpusSettings
    evaluation: EvaluationSettings

    @model_validator(mode="before")
    @classmethod
    def _table_below_the_output(cls, tree: Any) -> Any:
        """The table keeps the logits, so that nothing is computed twice; a job file that labels has one already."""
        evaluation = tree.get("evaluation")
        output = evaluation.get("output") if isinstance(evaluation, dict) else None
        return {"table": {"uri": f"{output}/table"}} | tree
