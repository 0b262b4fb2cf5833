"""The job file's `gates`: what a new snapshot must keep before readers see it. None is there unless it is named."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.corpus import LabelledCorpusSettings
from pipeline.config.values import Percent, Settings, Share


def _share(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        raise ValueError("expected a share such as 95% or 0.95")
    return float(match[1]) / 100 if match else value


ShareOrPercent = Annotated[Share, BeforeValidator(_share, json_schema_input_type=Share | Percent)]


class GateSettings(Settings):
    """Limits that a new snapshot must keep, as a whole, before readers see it; one that breaks any is held back."""

    min_agreement: ShareOrPercent | None = Field(
        default=None,
        description="Of the documents that both snapshots have, at least this share must have the same label, or the "
        "same set of labels.",
        examples=["95%"],
    )
    max_share_change: ShareOrPercent | None = Field(
        default=None,
        description="No label's share of all predictions may change by more than this, up or down: with 5% one that "
        "a tenth of the documents had may be on 5% to 15% of them.",
        examples=["5%"],
    )
    max_label_flips: ShareOrPercent | None = Field(
        default=None,
        description="For each label: of the documents in both snapshots that have it in at least one of them, at most "
        "this share may have it in only one.",
        examples=["20%"],
    )
    max_psi: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="The most that the PSI of the labels' shares may be. It is always reported; on its own it is a bad "
        "gate, for two labels that swap all their documents leave it at 0.",
        examples=[0.2],
    )
    gold: LabelledCorpusSettings | None = Field(
        default=None,
        description="Documents that people labelled, with the keys of `corpus` of training. They "
        "are looked up in the new snapshot by their ids.",
    )
    min_gold_macro_f1: ShareOrPercent | None = Field(
        default=None,
        description="The least macro F1 of the new snapshot on `gates.gold`: the mean of F1 over the labels that some "
        "document of it has.",
        examples=[0.8],
    )
    min_documents: int = Field(
        default=100,
        ge=1,
        description="The gates of the whole table (agreement, share change, PSI) judge nothing of fewer documents than "
        "this, and say so: of those in both snapshots, or of the predictions of the smaller one.",
    )
    min_label_documents: int = Field(
        default=100,
        ge=1,
        description="`max_label_flips` does not judge a label that fewer documents than this have in either snapshot.",
    )
    min_gold_documents: int = Field(
        default=100,
        ge=1,
        description="`min_gold_macro_f1` judges nothing of fewer documents of `gates.gold` that have a prediction.",
    )

    @property
    def are_set(self) -> bool:
        """Whether any limit is named."""
        limits = (self.min_agreement, self.max_share_change, self.max_label_flips, self.max_psi, self.min_gold_macro_f1)
        return any(limit is not None for limit in limits)

    @model_validator(mode="after")
    def _gold_has_a_limit(self) -> "GateSettings":
        if (self.gold is None) != (self.min_gold_macro_f1 is None):
            raise ValueError("expected gold and min_gold_macro_f1 both, or neither")
        if self.gold and self.gold.split_column:
            raise ValueError("gold.split_column: expected none, for all documents of a gold corpus are looked up")
        return self
