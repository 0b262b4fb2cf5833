"""Documents -> one PACKS row: nothing lost, nothing moved, the same bytes every time."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.schema import DOCUMENTS, packs_schema
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

LONG = "The scheduler assigns pods to nodes in the cluster. " * 8


@pytest.fixture(scope="session")
def packer(spiece: Path) -> Packer:
    policy = WindowPolicy(max_tokens=20, overlap=4)
    return Packer(Tokenizer.load(spiece, None), policy, budget=64, block_size=8)


def documents(*texts: str | None, **fields: Any) -> pa.Table:
    rows = [{"id": f"d{i}", "position": i, "text": text} | fields for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def packed(packer: Packer, *texts: str | None) -> dict[str, Any]:
    table = packer.packs("u", documents(*texts))
    assert table.num_rows == 1
    return dict(table.to_pylist()[0])


def windows(row: dict[str, Any]) -> dict[tuple[int, int], list[int]]:
    """(document, ordinal) -> the window's tokens."""
    keys = list(zip(row["window_documents"], row["window_ordinals"], strict=True))
    assert len(set(keys)) == len(keys)
    tokens = iter(row["tokens"])
    found = {key: [next(tokens) for _ in range(n)] for key, n in zip(keys, row["window_tokens"], strict=True)}
    assert next(tokens, None) is None
    return found


def body(packer: Packer, text: str) -> list[int]:
    return [int(token) for token in packer.tokenizer.encode([text])[0]]


def test_a_short_document_is_one_window(packer: Packer) -> None:
    row = packed(packer, "pods and nodes")
    ids = body(packer, "pods and nodes")
    assert row["unit"] == "u"
    assert row["tokens"] == [3, *ids, 4]
    assert row["window_tokens"] == [len(ids) + 2]
    assert (row["window_documents"], row["window_ordinals"], row["pack_windows"]) == ([0], [0], [1])


def test_a_document_is_described(packer: Packer) -> None:
    (record,) = packed(packer, LONG)["documents"]
    n_tokens = len(body(packer, LONG))
    assert record == {
        "id": "d0",
        "position": 0,
        "content_sha256": hashlib.sha256(LONG.encode()).hexdigest(),
        "n_tokens": n_tokens,
        "n_windows": len(packer.policy.windows(n_tokens)),
        "truncated": False,
        "stage": None,
        "reason": None,
        "message": None,
    }


def test_head_says_that_it_truncates(packer: Packer) -> None:
    row = packed(replace(packer, policy=WindowPolicy(20, "head")), LONG, "short")
    assert [(d["n_windows"], d["truncated"]) for d in row["documents"]] == [(1, True), (1, False)]


def test_head_tail_joins_both_ends_in_one_window(packer: Packer) -> None:
    row = packed(replace(packer, policy=WindowPolicy(20, "head_tail")), LONG)
    ids = body(packer, LONG)
    assert row["tokens"] == [3, *ids[:9], *ids[-9:], 4]


texts = st.lists(st.sampled_from([LONG, "pods", "nodes\nand pods", "日本語 ﬁ", " ", ""]) | st.none(), max_size=12)


@settings(max_examples=40, deadline=None)
@given(texts)
def test_every_window_is_where_it_belongs(packer: Packer, texts: list[str | None]) -> None:
    expected = {
        (i, ordinal): [3, *(t for a, b in w.spans for t in ids[a:b]), 4]
        for i, text in enumerate(texts)
        if text and text.strip()
        for ids in [body(packer, text)]
        for ordinal, w in enumerate(packer.policy.windows(len(ids)))
    }
    assert windows(packed(packer, *texts)) == expected


@settings(max_examples=40, deadline=None)
@given(texts)
def test_packs_keep_the_budget(packer: Packer, texts: list[str | None]) -> None:
    row = packed(packer, *texts)
    lengths = iter(row["window_tokens"])
    packs = [[next(lengths) for _ in range(n)] for n in row["pack_windows"]]
    assert next(lengths, None) is None
    assert all(sum(-(-n // 8) * 8 for n in held) <= 64 for held in packs)


@settings(max_examples=20, deadline=None)
@given(texts)
def test_the_same_documents_give_the_same_bytes(packer: Packer, texts: list[str | None]) -> None:
    once, again = (_serialized(packer.packs("u", documents(*texts))) for _ in range(2))
    assert once == again


def test_the_chunks_of_a_table_do_not_matter(packer: Packer) -> None:
    table = documents("a", None, LONG, "b")
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 2), table.slice(3)])
    assert _serialized(packer.packs("u", chunked)) == _serialized(packer.packs("u", table))


def test_more_documents_than_are_tokenized_at_a_time(packer: Packer) -> None:
    row = packed(packer, *(f"pod {i}" if i % 3 else None for i in range(600)))
    assert len(row["documents"]) == 600
    assert sorted(row["window_documents"]) == [i for i in range(600) if i % 3]


@pytest.mark.parametrize(
    ("text", "stage", "reason"),
    [
        (None, "read", "null_text"),
        ("", "tokenize", "empty_text"),
        (" \n\t\u00a0", "tokenize", "empty_text"),
    ],
    ids=["null", "empty", "blank"],
)
def test_a_document_without_text_leaves_alone(packer: Packer, text: str | None, stage: str, reason: str) -> None:
    row = packed(packer, "before", text, "after")
    assert [d["id"] for d in row["documents"]] == ["d0", "d1", "d2"]
    assert [d["reason"] for d in row["documents"]] == [None, reason, None]
    assert row["documents"][1]["stage"] == stage
    assert row["documents"][1]["n_windows"] is None
    assert sorted(row["window_documents"]) == [0, 2]


def test_a_document_that_could_not_be_read_keeps_its_reason(packer: Packer) -> None:
    table = documents(None, stage="read", reason="invalid_json", message="char 3")
    (record,) = packer.packs("u", table).to_pylist()[0]["documents"]
    assert (record["stage"], record["reason"], record["message"]) == ("read", "invalid_json", "char 3")


@pytest.mark.parametrize("texts", [[], [None, "", " "]], ids=["no documents", "only errors"])
def test_a_unit_without_windows_is_a_row_all_the_same(packer: Packer, texts: list[str | None]) -> None:
    row = packed(packer, *texts)
    assert len(row["documents"]) == len(texts)
    assert [
        row[name] for name in ("tokens", "window_tokens", "window_documents", "window_ordinals", "pack_windows")
    ] == [[]] * 5


@pytest.mark.parametrize(
    ("vocabulary", "token_type"),
    [(50_358, pa.uint16()), (65_536, pa.uint16()), (65_537, pa.int32())],
)
def test_tokens_are_as_small_as_the_vocabulary_allows(packer: Packer, vocabulary: int, token_type: pa.DataType) -> None:
    sized = replace(packer, tokenizer=replace(packer.tokenizer, vocab_size=vocabulary))
    table = sized.packs("u", documents("pods", None))
    assert table.schema.equals(packs_schema(token_type))


def located_rows(packer: Packer, *texts: str | None) -> dict[str, Any]:
    asking = replace(packer, located=True, questions=("which pod?", "nodes"))
    table = asking.packs("u", documents(*texts))
    assert table.schema.equals(packs_schema(pa.uint16(), located=True))
    return dict(table.to_pylist()[0])


def test_each_question_is_asked_of_each_document(packer: Packer) -> None:
    row = located_rows(packer, LONG, None, "short")
    pairs = set(zip(row["window_documents"], row["window_questions"], strict=True))
    assert pairs == {(0, 0), (0, 1), (2, 0), (2, 1)}
    at = 0
    for document, question, n in zip(
        row["window_documents"], row["window_questions"], row["window_tokens"], strict=True
    ):
        tokens, positions = row["tokens"][at : at + n], row["positions"][at : at + n]
        at += n
        asked = body(packer, ("which pod?", "nodes")[question])
        before = [3, *asked, 4]
        assert n <= packer.policy.max_tokens
        assert (tokens[: len(before)], tokens[-1]) == (before, 4)
        assert [p for p in positions if p < 0] == [-1] * (len(before) + 1)
        ids = body(packer, (LONG, None, "short")[document] or "")
        assert [ids[p] for p in positions if p >= 0] == tokens[len(before) : -1]
        assert positions[len(before)] >= 0
    of_document = row["window_documents"].count
    assert [d["n_windows"] for d in row["documents"]] == [of_document(0), None, of_document(2)]
    for document, question in pairs:
        read = [
            o
            for d, q, o in zip(
                row["window_documents"],
                row["window_questions"],
                row["window_ordinals"],
                strict=True,
            )
            if (d, q) == (document, question)
        ]
        assert sorted(read) == list(range(len(read)))


def test_a_unit_says_which_characters_its_tokens_are(packer: Packer) -> None:
    texts = ["ﬁrst pod", None, " ", "日本 nodes"]
    row = located_rows(packer, *texts)
    assert row["texts"] == ["ﬁrst pod", None, None, "日本 nodes"]
    found = iter(zip(row["token_starts"], row["token_stops"], strict=True))
    for text, document in zip(texts, row["documents"], strict=True):
        spans = [next(found) for _ in range(document["n_tokens"] or 0)]
        covered = "".join((text or "")[a:b] for a, b in spans if a < b)
        assert covered == (text or "").replace(" ", "")
    assert next(found, None) is None


def test_the_control_tokens_of_a_text_are_no_window_borders(packer: Packer) -> None:
    (tokens,) = windows(packed(packer, "[CLS] a [SEP]")).values()
    assert (tokens.count(3), tokens.count(4)) == (1, 1)


def _serialized(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
