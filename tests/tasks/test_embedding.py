import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.schema import LOGITS
from pipeline.tasks.embedding import Embedding


def logits(vectors: list[list[float]], documents: list[int], tokens: list[int], n: int) -> pa.Table:
    values = {
        "unit": "u",
        "documents": [{"id": str(i)} for i in range(n)],
        "window_tokens": tokens,
        "window_documents": documents,
        "window_ordinals": list(range(len(tokens))),
        "logits": [x for vector in vectors for x in vector],
    }
    return pa.Table.from_pylist([values], schema=LOGITS)


def test_windows_weigh_by_their_tokens_and_the_length_is_one() -> None:
    table = logits([[0.0, 4.0], [6.0, 0.0], [8.0, 6.0]], [0, 0, 2], [100, 200, 5], 3)
    outputs = Embedding(2).outputs(table)
    assert outputs.to_pylist() == [[4.0, pytest.approx(4 / 3)], None, [8.0, 6.0]]
    (embedding,) = Embedding(2).decide(outputs.drop_null())
    assert embedding.type == Embedding(2).fields[0].type
    first, second = embedding.to_pylist()
    assert first == pytest.approx([4 / np.hypot(4, 4 / 3), 4 / 3 / np.hypot(4, 4 / 3)])
    assert second == pytest.approx([0.8, 0.6])


def test_windows_are_aggregated_as_the_job_says() -> None:
    table = logits([[0.0, 4.0], [6.0, 0.0]], [0, 0], [100, 200], 1)
    assert Embedding(2, "first").outputs(table).to_pylist() == [[0.0, 4.0]]
    assert Embedding(2, "max").outputs(table).to_pylist() == [[6.0, 4.0]]


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_the_product_of_two_is_their_cosine(vectors_NL: np.ndarray) -> None:
    lists = pa.array(list(vectors_NL), pa.list_(pa.float32()))
    unit_NL = np.array(Embedding(4).decide(lists)[0].to_pylist())
    lengths = np.linalg.norm(vectors_NL.astype(np.float64), axis=1)
    expected = vectors_NL @ vectors_NL.T.astype(np.float64)
    # float32 keeps seven digits
    np.testing.assert_allclose(
        unit_NL @ unit_NL.T * np.outer(lengths, lengths), expected, rtol=1e-5, atol=1e-5 * max(1, lengths.max() ** 2)
    )


def test_a_vector_of_zeros_stays_one() -> None:
    (found,) = Embedding(2).decide(pa.array([[0.0, 0.0]], pa.list_(pa.float32())))
    assert found.to_pylist() == [[0.0, 0.0]]
