"""Ids are those of the checkpoint's own tokenizer, and a control token in a text is text."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from pipeline.added_tokens import CONTROL_TOKENS
from pipeline.errors import CheckpointError
from pipeline.text.tokenizer import PROBES, Tokenizer, in_parts
from tests.text.models import SAMPLE, train

AWKWARD = "\n\n\ttab\r\nﬁve oﬃces ＦＵＬＬ　ｗｉｄｔｈ 👩‍👩‍👧 e\u0301 \u200b\u00a0½ 日本語 "
CONTROL_TEXTS = ["[SEP]", "a [SEP] b", "[CLS]", "</s>", "<pad>", "<s>", "x[MASK]y", "[CLS][SEP]</s><pad><s>[MASK]"]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(token) for token in tokenizer.encode([text])[0]]


@pytest.fixture(scope="session")
def documents() -> list[str]:
    texts = pq.read_table(SAMPLE / "test.parquet", columns=["text"])["text"].to_pylist()[:25]
    return [text[:3000] + AWKWARD + text[3000:] for text in texts]


@pytest.mark.parametrize("model", ["spiece", "identity_spiece"])
def test_ids_are_sentencepieces(model: str, documents: list[str], request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(model)
    expected = SentencePieceProcessor(model_file=str(path)).encode(documents)
    found = [list(map(int, encoded)) for encoded in Tokenizer.load(path, None).encode(documents)]
    assert found == expected


def test_ids_do_not_depend_on_neighbours(spiece: Path, documents: list[str]) -> None:
    tokenizer = Tokenizer.load(spiece, None)
    alone = [tokenizer.encode([text])[0] for text in documents[:5]]
    assert all(map(np.array_equal, alone, tokenizer.encode(documents)))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_has_ids_in_the_vocabulary(spiece: Path, text: str) -> None:
    tokenizer = Tokenizer.load(spiece, None)
    assert all(0 <= token < tokenizer.vocab_size == 2000 for token in ids(tokenizer, text))


def test_no_texts_have_no_ids(spiece: Path, tokenizer_json: Path) -> None:
    assert Tokenizer.load(spiece, None).encode([]) == []
    assert Tokenizer.load(None, tokenizer_json).encode([]) == []


def test_the_special_ids_are_the_models(spiece: Path, tokenizer_json: Path) -> None:
    found = [Tokenizer.load(spiece, None), Tokenizer.load(None, tokenizer_json)]
    assert [(t.cls_id, t.sep_id, t.vocab_size) for t in found] == [(3, 4, 2000)] * 2


@pytest.mark.parametrize("text", CONTROL_TEXTS)
@pytest.mark.parametrize("path", ["sentencepiece", "tokenizers"])
def test_a_control_token_in_a_text_is_text(path: str, text: str, spiece: Path, tokenizer_json: Path) -> None:
    use_spiece = path == "sentencepiece"
    tokenizer = Tokenizer.load(spiece if use_spiece else None, None if use_spiece else tokenizer_json)
    pieces = SentencePieceProcessor(model_file=str(spiece)).id_to_piece(ids(tokenizer, text))
    assert not CONTROL_TOKENS & set(pieces)
    assert "".join(pieces).replace("▁", " ").strip() == text


def test_a_control_token_that_is_an_ordinary_piece_is_text(spiece: Path, tmp_path: Path) -> None:
    proto = sentencepiece_model_pb2.ModelProto.FromString(spiece.read_bytes())
    proto.pieces[4].type = proto.pieces[4].NORMAL
    (tmp_path / "spiece.model").write_bytes(proto.SerializeToString())
    tokenizer = Tokenizer.load(tmp_path / "spiece.model", None)
    assert tokenizer.sep_id == 4
    assert 4 not in ids(tokenizer, "a [SEP] b[SEP]")


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(("token", "counts"), [("<mask>", False), ("<|end|>", True)])
def test_an_added_token_counts_unless_it_is_a_control_token(
    tokenizer_json: Path, tmp_path: Path, token: str, counts: bool, special: bool
) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_json))
    tokenizer.add_tokens([tokenizers.AddedToken(token, special=special)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = ids(Tokenizer.load(None, tmp_path / "tokenizer.json"), f"a {token} b")
    assert (2000 in found) == counts


def test_a_limit_of_the_tokenizer_file_does_not_cut_texts(tokenizer_json: Path, tmp_path: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_json))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    limited, plain = Tokenizer.load(None, tmp_path / "tokenizer.json"), Tokenizer.load(None, tokenizer_json)
    assert ids(limited, PROBES[0]) == ids(plain, PROBES[0])
    assert ids(limited, "a") == ids(plain, "a")


def test_files_that_agree_give_sentencepiece_and_no_word(
    spiece: Path, tokenizer_json: Path, documents: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = Tokenizer.load(spiece, tokenizer_json)
    expected = SentencePieceProcessor(model_file=str(spiece)).encode(documents)
    assert [list(map(int, encoded)) for encoded in tokenizer.encode(documents)] == expected
    assert caplog.records == []


def test_files_that_differ_give_tokenizers_and_one_warning(
    spiece: Path, other_tokenizer_json: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = Tokenizer.load(spiece, other_tokenizer_json)
    plain = tokenizers.Tokenizer.from_file(str(other_tokenizer_json))
    text = "ﬁve\noﬃces"
    assert ids(tokenizer, text) == plain.encode(text, add_special_tokens=False).ids
    assert ids(tokenizer, text) != ids(Tokenizer.load(spiece, None), text)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{spiece.parent}: spiece.model and tokenizer.json differ on ")


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 100], ids=["empty", "text", "bytes"])
def test_a_corrupt_spiece_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"/spiece.model: not a sentencepiece model \("):
        Tokenizer.load(tmp_path / "spiece.model", None)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff"], ids=["empty", "cut", "no model", "bytes"])
def test_a_corrupt_tokenizer_json_is_refused(content: bytes, spiece: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"/tokenizer.json: not a tokenizer \("):
        Tokenizer.load(spiece, tmp_path / "tokenizer.json")


def test_a_spiece_model_without_cls_is_refused(tmp_path: Path) -> None:
    path = train(tmp_path / "spiece.model", "identity", symbols=["[SEP]"])
    with pytest.raises(CheckpointError, match=r"/spiece.model: no piece \[CLS\]; BigBird needs"):
        Tokenizer.load(path, None)


def test_a_tokenizer_json_without_sep_is_refused(tmp_path: Path) -> None:
    model = tokenizers.models.Unigram([("<unk>", 0.0), ("[CLS]", 0.0)], unk_id=0)
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"/tokenizer.json: no token \[SEP\]; BigBird needs"):
        Tokenizer.load(None, tmp_path / "tokenizer.json")


def test_one_of_the_two_files_is_needed() -> None:
    with pytest.raises(CheckpointError, match=r"expected spiece.model or tokenizer.json"):
        Tokenizer.load(None, None)


@pytest.mark.parametrize("path", ["sentencepiece", "tokenizers"])
def test_parts_give_the_ids_of_the_whole(path: str, spiece: Path, tokenizer_json: Path, documents: list[str]) -> None:
    """Ids, or others as likely: sentencepiece adds up float32 scores, so ties depend on where a sum begins."""
    use_spiece = path == "sentencepiece"
    encode = Tokenizer.load(spiece if use_spiece else None, None if use_spiece else tokenizer_json).encode
    model = SentencePieceProcessor(model_file=str(spiece))

    def likelihood(ids: npt.NDArray[np.int32]) -> float:
        return sum(map(model.get_score, ids.tolist()))

    texts = [" ".join(documents[:8]), "short", documents[9] + " \u0301 ".join(["x"] * 3000)]
    seen: list[str] = []

    def watched(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        seen.extend(texts)
        return encode(texts)

    for whole, parts in zip(encode(texts), in_parts(watched, 5000)(texts), strict=True):
        if use_spiece:
            assert model.decode(parts.tolist()) == model.decode(whole.tolist())
            assert likelihood(parts) == pytest.approx(likelihood(whole), rel=1e-6)
        else:  # sums in float64
            assert np.array_equal(whole, parts)
    assert len(seen) > 10
    assert max(map(len, seen)) <= 5001


@pytest.mark.parametrize("text", ["x" * 9999, "日本語" * 5000, "a  b  " * 2000, "\u0301" * 9000])
def test_a_text_without_a_blank_to_cut_at_is_whole_too(spiece: Path, text: str) -> None:
    pieces: list[str] = []

    def watched(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        pieces.extend(texts)
        return [np.arange(len(text), dtype=np.int32) for text in texts]

    assert len(in_parts(watched, 1000)([text])[0]) == len(text)
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    "text",
    ["שלום עולם", "مرحبا بالعالم", "e\u0301\u0323o\u0308", "a\u202eb\u202c", "👩‍👩‍👧", "x"],
    ids=["hebrew", "arabic", "combining", "override", "emoji", "one letter"],
)
def test_every_script_has_tokens(spiece: Path, text: str) -> None:
    assert len(ids(Tokenizer.load(spiece, None), text)) > 0
