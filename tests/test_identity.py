"""What is named by its content is named by literal tags and values.

A test here that fails says: with this change every corpus that anybody labelled is computed again, since no unit, no
weights and no decision has the name that it had. If that is not what the change is for, undo it: rename the code, not
the form. If it is, raise the version in the form's tag, say so in CHANGELOG.md, and pin the new value.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pipeline.added_tokens import AddedToken, Declared
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.corpus.corpus_file import CorpusFile
from pipeline.corpus.lake_file import LakeFile, TableColumn, TableVersion
from pipeline.corpus.slices import Bytes, Part, Reading, RowGroups, Rows, Slice, Stream, Unit, Unreadable, WholeFile
from pipeline.identity import canonical, digest, long_digest
from pipeline.storage.listings import StoredFile
from pipeline.tables.groups import Group, TableLayout
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.question_answering import QuestionAnswering
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TokenClassification

UNIT = Unit(
    file=CorpusFile(StoredFile("s3://bucket/a.parquet", 3, "etag"), format="parquet", compression=None, partitions=()),
    slice=WholeFile(),
    reading=Reading(id_column="key", text_columns=("text",), max_document_bytes=16_000_000),
)
ENCODER = EncoderConfig(
    vocab_size=50358,
    hidden_size=768,
    layers=12,
    heads=12,
    intermediate_size=3072,
    max_positions=4096,
    type_vocab_size=2,
    block_size=64,
    random_blocks=3,
    attention_type="block_sparse",
    activation="gelu_tanh",
    norm_eps=1e-12,
    use_bias=True,
    rescale_embeddings=False,
)
HEAD = HeadConfig(pooling="cls", head="bigbird", problem_type="single_label", labels=("a", "b"))


@pytest.mark.parametrize(
    ("slice_", "id_"),
    [
        (RowGroups(0, 3, 7), "193d7c26c7b178900b1849ef3cf93133"),
        (Rows(2, 10, 20, 7), "954f467065eaea82f707a9ba40c10e75"),
        (Bytes(0, 3), "c72a641f1d699faef04927f7531ee2c1"),
        (WholeFile(), "2468e34bb632ce0d3c39e7e3ffd8110f"),
        (Stream(16_000_000), "e2778ef0f25c2924c15b6affb276930a"),
        (Part(1, 16_000_000), "895254742a886a2a9df87d85df37b986"),
        (Unreadable("damaged_file", "what a library says", 0, 5), "3172b6ee694d84d13ca5d7a39e0a8728"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_the_id_of_a_unit_of_each_kind(slice_: Slice, id_: str) -> None:
    assert replace(UNIT, slice=slice_).id("scoring key") == id_


def test_the_id_of_a_unit_is_that_of_its_canonical_form() -> None:
    form = (
        '["unit/1",["s3://bucket/a.parquet",3,"etag","parquet",null],["key","text",null,16000000],'
        '["row_groups",0,3,7],"scoring key"]'
    )
    unit = replace(UNIT, slice=RowGroups(0, 3, 7))
    assert unit.id("scoring key") == hashlib.sha256(form.encode()).hexdigest()[:32]


def test_the_id_of_a_unit_whose_text_is_in_several_columns() -> None:
    form = (
        '["unit/1",["s3://bucket/a.parquet",3,"etag","parquet",null],["key",[["title","body"]," - "],null,16000000],'
        '["whole_file"],"scoring key"]'
    )
    reading = replace(UNIT.reading, text_columns=("title", "body"), text_separator=" - ")
    assert replace(UNIT, reading=reading).id("scoring key") == hashlib.sha256(form.encode()).hexdigest()[:32]


def test_the_id_of_a_unit_of_a_lake_table_is_that_of_its_file_unless_something_is_otherwise() -> None:
    version = TableVersion("Iceberg", "iceberg://lake/ns.t", "17")
    plain = LakeFile(version, (TableColumn("text", 4, ()),), renamed=(("label", "topic"),))
    unit = replace(UNIT, slice=RowGroups(0, 3, 7))
    assert replace(unit, file=replace(unit.file, lake=plain)).id("scoring key") == unit.id("scoring key")
    changed = replace(plain, renamed=(("text", "body"), ("key", None)), deleted="ab12")
    form = (
        '["unit/1",["s3://bucket/a.parquet",3,"etag","parquet",null],["key","text",null,16000000],'
        '["row_groups",0,3,7],["lake",[["text","body"],["key",null]],"ab12"],"scoring key"]'
    )
    of_table = replace(unit, file=replace(unit.file, lake=changed))
    assert of_table.id("scoring key") == hashlib.sha256(form.encode()).hexdigest()[:32]


def test_the_id_of_another_edition_of_a_unit() -> None:
    form = (
        '["unit_edition/1",["s3://bucket/a.parquet",3,"etag","parquet",null],["key","text",null,16000000],'
        '["whole_file"],"scoring key",2]'
    )
    assert replace(UNIT, edition=2).id("scoring key") == hashlib.sha256(form.encode()).hexdigest()[:32]


def test_the_name_of_a_stream() -> None:
    assert replace(UNIT, slice=Stream(16_000_000)).stream_id == "d977ca29a5e4fd1d6c87005687211719"


def test_what_a_library_says_of_a_damaged_file_is_in_no_id() -> None:
    ids = {replace(UNIT, slice=Unreadable("damaged_file", words, 0, 5)).id("key") for words in ("these", "those")}
    assert len(ids) == 1


def test_the_form_of_an_encoder_and_of_heads() -> None:
    asking = HeadConfig("tokens", "question_answering", "single_label", ("start", "end"), sep_token_id=66)
    assert digest("encoder", ENCODER.form) == "eca9316cf46572af72bbcce1a8e33528a8d7747c63c482dd49c312c462876463"
    assert digest("head", HEAD.form) == "3e5c1ecbd0c1d93d258de48205aadbd9b44ff77e85e5786108649d94401f8f84"
    assert digest("head", asking.form) == "8cce2c9d9fe64fcf85897442943a475ab303c6c46708b9846b33cf7fffcdbd39"


def test_the_form_of_added_tokens() -> None:
    token = AddedToken("<chapter>", 50358, Path("added_tokens.json"))
    assert Declared().form == []
    assert (
        digest("tokens", Declared({token.file: (token,)}).form)
        == "40883ace3c4e3c0f6bff4344446da4f6d26092aa43dee3fd8c5590bb210269bf"
    )


@pytest.mark.parametrize(
    ("task", "key"),
    [
        (Classification("multi_label", ("a", "b"), {"b": 0.25}, temperature=2.0), "1f6af5a9f0457e8d"),
        (TokenClassification(("a", "b"), min_score=0.5), "bca707f23c9f0273"),
        (QuestionAnswering(("Who?",), no_answer_threshold=0.5), "96cefd2a8729e9e3"),
        (Embedding(768), "embedding"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_the_decision_key_of_each_task(task: Task, key: str) -> None:
    assert task.key == key


def test_the_names_of_a_group_of_a_table() -> None:
    unit = SourceUnit("a" * 32, "s3://bucket/a.parquet", ())
    group = Group(partition=(("year", "2026"),), bucket=3, units=(unit,))
    assert (
        group.inputs(TableLayout(("year",), ("country",), 16), "decision key")
        == "333b6e6bad271fedf8dbfdf401717b93f74366af329e50ebaefdff60873f0238"
    )
    assert group.members == "c4ec51733dd7d22400f323b0d309a846"


Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)


@given(Plain)
def test_the_canonical_form_is_json_that_says_the_same(value: object) -> None:
    assert json.loads(canonical("a tag/1", value)) == ["a tag/1", value]


@given(st.lists(Plain))
def test_a_digest_of_what_comes_one_by_one_is_that_of_the_list(values: list[object]) -> None:
    assert long_digest("tag/1", iter(values), 1, iter([])) == digest("tag/1", values, 1, [])


def test_the_canonical_form_is_this_one() -> None:
    form = canonical("tag/1", {"b": 1.0, "a": [True, None]}, ("é", 2))
    assert form == '["tag/1",{"a":[true,null],"b":1.0},["é",2]]'.encode()
    assert digest("tag/1", {"b": 1.0, "a": [True, None]}, ("é", 2)) == hashlib.sha256(form).hexdigest()


def test_a_name_that_is_no_unicode_has_a_form() -> None:
    assert canonical("file/1", "\udcff") != canonical("file/1", "\udcfe")


def test_a_number_that_is_none_has_no_form() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest("tag/1", float("nan"))
