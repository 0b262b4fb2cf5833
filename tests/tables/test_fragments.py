from pathlib import Path

import pyarrow as pa

from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.storage.objects import Storage
from pipeline.tables.fragments import Fragments, fragment
from pipeline.tasks.question_answering import BESTS
from pipeline.tasks.token_classification import ENTITIES


def logits(*rows: list[float] | None) -> pa.Array:
    return pa.array(rows, DOCUMENT_LOGITS.type)


def records(*ids: str, **fields: object) -> pa.Table:
    rows = [{"id": id_, "position": i, "n_tokens": 1} | fields for i, id_ in enumerate(ids)]
    return pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))


def test_a_document_without_outputs_is_an_error_and_costs_no_neighbour():
    rows = fragment(records("a", "b"), logits(None, [1.0, 2.0]), DOCUMENT_LOGITS).to_pylist()
    assert [(row["stage"], row["reason"], row["logits"]) for row in rows] == [
        ("predict", "not_finite", None),
        (None, None, [1.0, 2.0]),
    ]


def test_documents_that_failed_before_keep_their_reason():
    failed = records("a", stage="read", reason="null_text", message="m")
    (row,) = fragment(failed, logits(None), DOCUMENT_LOGITS).to_pylist()
    assert (row["id"], row["reason"], row["logits"]) == ("a", "null_text", None)


def test_documents_that_failed_have_no_outputs():
    failed = records("a", stage="predict", reason="process_died", message="m")
    (row,) = fragment(failed, logits([1.0, 2.0]), DOCUMENT_LOGITS).to_pylist()
    assert (row["reason"], row["logits"]) == ("process_died", None)


def test_what_other_tasks_leave_comes_back_as_it_was(tmp_path: Path):
    entity = {"label": "bird", "text": "rook", "start": 0, "stop": 4, "score": 0.5}
    best = {"null_logit": 1.0, "text": "rook", "spans": [{"start": 0, "stop": 4, "logit": 2.0}]}
    empty: dict[str, object] = {"null_logit": 1.0, "text": None, "spans": []}
    for output, values in ((ENTITIES, [[entity], []]), (BESTS, [[best, empty], [empty, best]])):
        fragments = Fragments(Storage(), str(tmp_path), output.name, output)
        table = fragment(records("a", "b"), pa.array(values, output.type), output)
        fragments.write("0123", table)
        assert fragments.read(["0123"]) == [table]
        assert table[output.name].to_pylist() == values


def test_a_unit_is_done_when_its_fragment_is_there(tmp_path: Path):
    fragments = Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS)
    table = fragment(records("a", "b"), logits([1, 1], [1, 1]), DOCUMENT_LOGITS)
    assert fragments.finished() == set()
    assert fragments.write("0123", table)
    assert fragments.finished() == {"0123"}
    assert (tmp_path / "_units" / "key" / "01" / "0123.parquet").is_file()
    assert fragments.read(["0123"]) == [table]


def test_the_first_fragment_stands(tmp_path: Path):
    fragments = Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS)
    first, second = (fragment(records("a"), logits([x, x]), DOCUMENT_LOGITS) for x in (1, 2))
    assert fragments.write("0123", first)
    assert fragments.write("0123", first)
    assert not fragments.write("0123", second)
    assert fragments.read(["0123"]) == [first]


def test_scoring_keys_do_not_share_fragments(tmp_path: Path):
    table = fragment(records("a"), logits([1, 1]), DOCUMENT_LOGITS)
    Fragments(Storage(), str(tmp_path), "one", DOCUMENT_LOGITS).write("0123", table)
    assert Fragments(Storage(), str(tmp_path), "two", DOCUMENT_LOGITS).finished() == set()
