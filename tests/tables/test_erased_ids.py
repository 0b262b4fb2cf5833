"""The list of erased ids: who is on it, and what runs make of it."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from pipeline.errors import RetryableError, RookeryError
from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD, DOCUMENTS
from pipeline.storage.objects import Storage
from pipeline.tables.erased_ids import NOTHING_ERASED, ErasedIds, Erasures, erased_count
from pipeline.tables.fragments import Fragments, fragment

SALT = b"s" * 32
ids = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=20)


@given(ids, ids)
def test_exactly_the_ids_of_a_list_are_on_it(erased: list[str], asked: list[str]):
    held = ErasedIds.of(erased, SALT).holds([*asked])
    assert held.tolist() == [id_ in erased for id_ in asked]


def test_digests_are_of_one_table(tmp_path: Path):
    lists = []
    for name in ("one", "two"):
        erasures = Erasures(Storage(), str(tmp_path / name))
        assert erasures.read() == NOTHING_ERASED
        erasures.begin(["a", "b"])
        lists.append(erasures.ids(erasures.read()))
        assert b"a" not in lists[-1].digests.split(lists[-1].salt)
    assert lists[0].digests != lists[1].digests
    assert [held.holds(["a", "b", "c"]).tolist() for held in lists] == [[True, True, False]] * 2


def test_all_lists_of_a_table_count_and_the_same_ids_are_one(tmp_path: Path):
    erasures = Erasures(Storage(), str(tmp_path))
    for some in (["a", "b"], ["c"], ["b", "a", "a"]):
        erasures.begin(some)
    erased = erasures.read()
    assert (len(erased.names), erased.finished) == (2, False)
    assert erasures.ids(erased).among(["a", "b", "c", "d", None]) == {"a", "b", "c"}
    erasures.check_same(erased)
    erasures.begin(["d"])
    with pytest.raises(RetryableError, match="ids were erased from this table meanwhile"):
        erasures.check_same(erased)


def test_a_list_without_its_salt_is_no_list_of_nothing(tmp_path: Path):
    erasures = Erasures(Storage(), str(tmp_path))
    erasures.begin(["a"])
    (tmp_path / "_erased" / "salt").unlink()
    with pytest.raises(RookeryError, match=r"_erased/salt: is gone, so nobody can tell which ids were erased"):
        erasures.ids(erasures.read())


def test_nothing_of_an_erased_document_reaches_its_fragment_but_a_count(tmp_path: Path):
    rows = [{"id": id_, "position": n, "text": f"text of {id_}"} for n, id_ in enumerate("abc")]
    erased = ErasedIds.of(["b"], SALT)
    marked = erased.marked(pa.Table.from_pylist(rows, schema=DOCUMENTS))
    assert marked["id"].to_pylist() == ["a", "c", None]
    assert marked["text"].to_pylist() == ["text of a", "text of c", None]
    records = pa.Table.from_pylist(marked.drop_columns(["text"]).to_pylist(), schema=pa.schema(list(DOCUMENT_RECORD)))
    made = fragment(records, pa.array([[1.0], [2.0], None], DOCUMENT_LOGITS.type), DOCUMENT_LOGITS)
    assert (made["id"].to_pylist(), erased_count(made)) == (["a", "c"], 1)
    erasures = Erasures(Storage(), str(tmp_path))
    erasures.begin(["b"])
    fragments = Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS, erasures.read())
    assert fragments.erased_ids.holds(["a", "b"]).tolist() == [False, True]
    fragments.write("0123", made)
    for table in (*fragments.read(["0123"]), *fragments.read_columns(["0123"], ["id", "reason"])):
        assert (table["id"].to_pylist(), erased_count(table)) == (["a", "c"], 1)
    erasures.begin(["c"])
    later = Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS, erasures.read())
    (position,) = later.read_columns(["0123"], ["position"])
    assert (position.column_names, position["position"].to_pylist(), erased_count(position)) == (["position"], [0], 2)


def test_documents_of_which_none_was_erased_are_what_they_were():
    table = pa.Table.from_pylist([{"id": "a", "position": 0}], schema=DOCUMENTS)
    for erased in (ErasedIds(), ErasedIds.of(["b"], SALT)):
        assert erased.marked(table) is table
        assert erased.without_erased(table) is table
