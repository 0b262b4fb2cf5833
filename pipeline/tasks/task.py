"""The seam: what a head's outputs become, first in a fragment and then in the table.

                        a document's outputs, kept             columns of the table
classification          logits                                 label(s) and scores, or value
embedding               the pooled vector                      embedding
token classification    entities                               entities
question answering      each question's best spans             answers

`outputs` runs once, when the unit is scored. `decide` runs at each publishing, so whatever only it reads may change
without the encoder: thresholds.
"""

from typing import Any, Protocol

import pyarrow as pa


class Task(Protocol):
    """What a head's outputs are for: what a fragment keeps of them, and which columns of the table they become."""

    @property
    def output(self) -> pa.Field:
        """The fragment's column that holds a document's outputs."""

    @property
    def fields(self) -> list[pa.Field]:
        """The table's columns that hold the decision."""

    @property
    def key(self) -> str:
        """The decision key: digest of all that `decide` reads beside the outputs."""

    @property
    def scoring(self) -> dict[str, Any]:
        """What `outputs` reads beside the logits; part of the scoring key."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the table should know of the outputs and the decision; for the manifest, as JSON."""

    @property
    def located(self) -> bool:
        """Whether `outputs` needs LOGITS with LOCATED_FIELDS."""

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked of every document."""

    def outputs(self, logits: pa.Table, /) -> pa.Array:
        """Turns a unit's LOGITS row into the outputs of each document.

        Null stands for a document without windows, or with a logit that is not finite.
        """

    def decide(self, outputs: pa.Array, /) -> list[pa.Array]:
        """Turns outputs of N documents, N at least 1 and none null, into an array of N rows per field of `fields`."""
