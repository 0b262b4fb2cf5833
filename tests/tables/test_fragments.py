from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.schema import DOCUMENT_RECORD
from pipeline.storage import Storage
from pipeline.tables.fragments import Fragments, Windows, aggregate, fragment


def windows(tokens: list[int], documents: list[int], ordinals: list[int]) -> Windows:
    return Windows(*(np.array(values, np.int32) for values in (tokens, documents, ordinals)))


def records(*ids: str, **fields: object) -> pa.Table:
    rows = [{"id": id_, "position": i, "n_tokens": 1} | fields for i, id_ in enumerate(ids)]
    return pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))


# document 0 has two windows, in the wrong order in the packs; document 1 has none; document 2 has one
WINDOWS = windows([100, 10, 300], [0, 2, 0], [1, 0, 0])
LOGITS = np.array([[1.0, 5.0], [7.0, 8.0], [5.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("how", "first"),
    [("mean", [4.0, 2.0]), ("max", [5.0, 5.0]), ("first", [5.0, 1.0])],
)
def test_aggregate(how: str, first: list[float]):
    logits = aggregate(WINDOWS, LOGITS, 3, how)
    assert logits[0].tolist() == first
    assert np.isnan(logits[1]).all()
    assert logits[2].tolist() == [7.0, 8.0]


@given(st.data(), st.sampled_from(["mean", "max", "first"]))
def test_aggregation_does_not_depend_on_the_packing(data: st.DataObject, how: str):
    per_document = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    documents = [d for d, n in enumerate(per_document) for _ in range(n)]
    ordinals = [o for n in per_document for o in range(n)]
    random = np.random.default_rng(len(documents))
    tokens, logits = (
        random.integers(2, 4096, len(documents)),
        random.normal(size=(len(documents), 3)).astype(np.float32),
    )
    order = data.draw(st.permutations(range(len(documents))))
    straight = aggregate(
        windows(tokens.tolist(), documents, ordinals), logits, len(per_document), how
    )
    shuffled = windows(
        *([values[i] for i in order] for values in (tokens.tolist(), documents, ordinals))
    )
    assert np.array_equal(
        aggregate(shuffled, logits[list(order)], len(per_document), how), straight, equal_nan=True
    )


def test_a_logit_that_is_not_finite_is_an_error_and_costs_no_neighbour():
    logits = np.array([[np.nan, 1.0], [1.0, 2.0]], np.float32)
    rows = fragment(records("a", "b"), windows([5, 5], [0, 1], [0, 0]), logits, "mean").to_pylist()
    assert [(row["stage"], row["reason"], row["logits"]) for row in rows] == [
        ("predict", "not_finite", None),
        (None, None, [1.0, 2.0]),
    ]


def test_documents_that_failed_before_keep_their_reason():
    failed = records("a", stage="read", reason="null_text", message="m")
    (row,) = fragment(failed, windows([], [], []), np.empty((0, 1), np.float32), "mean").to_pylist()
    assert (row["id"], row["reason"], row["logits"]) == ("a", "null_text", None)


def test_a_unit_is_done_when_its_fragment_is_there(tmp_path: Path):
    fragments = Fragments(Storage(), str(tmp_path), "key")
    table = fragment(
        records("a", "b"), windows([5, 5], [0, 1], [0, 0]), np.ones((2, 2), np.float32), "mean"
    )
    assert fragments.done() == set()
    assert fragments.write("0123", table)
    assert fragments.done() == {"0123"}
    assert (tmp_path / "_units" / "key" / "01" / "0123.parquet").is_file()
    assert fragments.read(["0123"]) == [table]


def test_the_first_fragment_stands(tmp_path: Path):
    fragments = Fragments(Storage(), str(tmp_path), "key")
    first, second = (
        fragment(records("a"), windows([5], [0], [0]), np.full((1, 2), x, np.float32), "mean")
        for x in (1, 2)
    )
    assert fragments.write("0123", first)
    assert fragments.write("0123", first)
    assert not fragments.write("0123", second)
    assert fragments.read(["0123"]) == [first]


def test_scoring_keys_do_not_share_fragments(tmp_path: Path):
    table = fragment(records("a"), windows([5], [0], [0]), np.ones((1, 2), np.float32), "mean")
    Fragments(Storage(), str(tmp_path), "one").write("0123", table)
    assert Fragments(Storage(), str(tmp_path), "two").done() == set()
