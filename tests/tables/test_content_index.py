import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings, strategies as st

from pipeline.schema import DOCUMENT_LOGITS, DOCUMENT_RECORD
from pipeline.storage.objects import Storage
from pipeline.tables import content_index
from pipeline.tables.content_index import ABSENT, ContentIndex, content_keys
from pipeline.tables.fragments import Fragments, fragment


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(fragments: Fragments, unit: str, texts: list[str], *, reason: str | None = None) -> None:
    rows = [
        {"id": text, "position": n, "content_sha256": sha256(text), "reason": reason} for n, text in enumerate(texts)
    ]
    records = pa.Table.from_struct_array(pa.array(rows, DOCUMENT_RECORD))
    fragments.write(unit, fragment(records, pa.array([[1.0]] * len(texts), DOCUMENT_LOGITS.type), DOCUMENT_LOGITS))


@pytest.fixture
def fragments(tmp_path: Path) -> Fragments:
    return Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS)


def holders(index: ContentIndex, texts: list[str], existing: set[str]) -> dict[str, str | None]:
    digests = sorted(map(sha256, texts), key=lambda digest: int(content_keys([digest])[0]))
    numbers, units = index.look_up(content_keys(digests), existing)
    by_digest = {sha256(text): text for text in texts}
    return {
        by_digest[digest]: None if number == ABSENT else units[number]
        for digest, number in zip(digests, numbers, strict=True)
    }


def test_a_key_is_the_first_64_bits_of_the_digest():
    digest = sha256("a rook")
    assert content_keys([digest]).tolist() == [int.from_bytes(bytes.fromhex(digest)[:8], signed=True)]
    assert content_keys([]).tolist() == []


def test_texts_that_failed_are_in_no_index(fragments: Fragments):
    write(fragments, "unit", ["a", "b"], reason="process_died")
    index = ContentIndex(fragments)
    index.extend(["unit"])
    assert index.covered() == {"unit"}
    assert holders(index, ["a", "b"], {"unit"}) == {"a": None, "b": None}


def test_what_it_covers_is_not_read_again(fragments: Fragments, tmp_path: Path):
    write(fragments, "one", ["a"])
    index = ContentIndex(fragments)
    index.extend(["one"])
    Path(fragments.uri("one")).unlink()
    write(fragments, "two", ["b"])
    index.extend(["one", "two"])
    assert index.covered() == {"one", "two"}
    assert len(list((tmp_path / "_index" / "key").iterdir())) == 2
    assert holders(index, ["a", "b", "c"], {"two"}) == {"a": None, "b": "two", "c": None}


def test_it_holds_neither_ids_nor_texts(fragments: Fragments, tmp_path: Path):
    write(fragments, "unit", ["a very long and secret name"])
    ContentIndex(fragments).extend(["unit"])
    (file,) = (tmp_path / "_index" / "key").iterdir()
    assert pq.read_schema(file).names == ["key", "unit"]


UNITS = st.dictionaries(st.sampled_from("uvwxyz"), st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=6)


@settings(max_examples=40, deadline=None)
@example(units={"u": ["a"], "v": ["a"]}, gone={"u"}, size=2)
@given(units=UNITS, gone=st.sets(st.sampled_from("uvwxyz")), size=st.integers(1, 4))
def test_it_finds_a_unit_that_has_the_text_if_one_does(
    units: dict[str, list[str]], gone: set[str], size: int, tmp_path_factory: pytest.TempPathFactory
):
    """Whatever the size of its files; of units that exist. One that names several may give any of them."""
    fragments = Fragments(Storage(), str(tmp_path_factory.mktemp("table")), "key", DOCUMENT_LOGITS)
    for unit, texts in units.items():
        write(fragments, unit, texts)
    index = ContentIndex(fragments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_index, "INDEXED_UNITS", size)
        index.extend(units)
    found = holders(index, list("abcdefgh"), units.keys() - gone)
    for text, holder in found.items():
        having = {name for name, texts in units.items() if text in texts and name not in gone}
        assert holder in having if having else holder is None, text
