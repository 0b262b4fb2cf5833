"""Windows' logits become a document's."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.tasks.document_scores import Windows, aggregate
from pipeline.terms import Aggregation


def windows(tokens: list[int], documents: list[int], ordinals: list[int]) -> Windows:
    return Windows(*(np.array(values, np.int32) for values in (tokens, documents, ordinals)))


# document 0 has two windows, in the wrong order in the packs; document 1 has none; document 2 has one
WINDOWS = windows([100, 10, 300], [0, 2, 0], [1, 0, 0])
LOGITS = np.array([[1.0, 5.0], [7.0, 8.0], [5.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("how", "first"),
    [("mean", [4.0, 2.0]), ("max", [5.0, 5.0]), ("first", [5.0, 1.0])],
)
def test_aggregate(how: Aggregation, first: list[float]):
    logits = aggregate(WINDOWS, LOGITS, 3, how)
    assert logits[0].tolist() == first
    assert np.isnan(logits[1]).all()
    assert logits[2].tolist() == [7.0, 8.0]


@given(st.data(), st.sampled_from(["mean", "max", "first"]))
def test_aggregation_does_not_depend_on_the_packing(data: st.DataObject, how: Aggregation):
    per_document = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    documents = [d for d, n in enumerate(per_document) for _ in range(n)]
    ordinals = [o for n in per_document for o in range(n)]
    random = np.random.default_rng(len(documents))
    tokens, logits = (
        random.integers(2, 4096, len(documents)),
        random.normal(size=(len(documents), 3)).astype(np.float32),
    )
    order = data.draw(st.permutations(range(len(documents))))
    straight = aggregate(windows(tokens.tolist(), documents, ordinals), logits, len(per_document), how)
    shuffled = windows(*([values[i] for i in order] for values in (tokens.tolist(), documents, ordinals)))
    assert np.array_equal(aggregate(shuffled, logits[list(order)], len(per_document), how), straight, equal_nan=True)
