"""A document's vector: the mean of its windows' pooled vectors, weighted by their tokens, of length 1.

So the product of two documents' vectors is their cosine. `max` and `first` aggregate windows otherwise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.schema import DOCUMENT_LOGITS, column
from pipeline.tasks.document_scores import aggregated, lists, matrix
from pipeline.terms import Aggregation


@dataclass(frozen=True)
class Embedding:
    """A document as a vector of `dimension` numbers: for search, clustering and finding duplicates."""

    dimension: int
    aggregation: Aggregation = "mean"

    output = DOCUMENT_LOGITS
    key = "embedding"  # there is nothing to decide
    located = False
    questions = ()

    @property
    def fields(self) -> list[pa.Field]:
        meaning = f"vector of {self.dimension} float32 and of length 1, so that a product of two is their cosine"
        return [column("embedding", pa.list_(pa.float32()), meaning)]

    @property
    def scoring(self) -> dict[str, Any]:
        return {}  # the aggregation is the window policy's

    @property
    def facts(self) -> dict[str, Any]:
        return {"dimension": self.dimension, "vector_dtype": "float32"}

    def outputs(self, logits: pa.Table) -> pa.Array:
        return aggregated(logits, self.aggregation)

    def decide(self, outputs: pa.Array) -> list[pa.Array]:
        vectors_NL = matrix(outputs)
        lengths_N1 = np.linalg.norm(vectors_NL, axis=1, keepdims=True)
        unit_NL = (vectors_NL / np.maximum(lengths_N1, np.finfo(np.float64).tiny)).astype(np.float32)
        n, dimensions = unit_NL.shape
        return [lists(pa.array(unit_NL.ravel()), np.full(n, dimensions))]
