"""Which characters tokens stand for, on models that change the text and models that don't."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sentencepiece import SentencePieceProcessor

from pipeline.text.offsets import BLANKS
from pipeline.text.tokenizer import PROBES, Tokenizer, located_in_parts

HARD = [
    *PROBES,
    "  blanks \u3000 \u2028 everywhere\n\n",
    "ﬁ½ ㍿ ㌀ ﷺ",  # one character that the normalizer makes many of
    "e\u0301\u0323o\u0308 \u0301 alone",
    "👩‍👩‍👧 🇺🇳 ✅ 한국어 กขค",
    "\n",
]
texts = st.lists(
    st.sampled_from(
        [*"aebo rst.,\n\t  ", "é", "e\u0301", "ﬁ", "½", "Ａ", "日本", "👩‍👩‍👧", "\u00a0", "\u200b", "[SEP]", "rook"]
    ),
    max_size=30,
).map("".join)


@pytest.fixture(scope="module", params=["normalizing", "identity", "tokenizers"])
def tokenizer(request: pytest.FixtureRequest, spiece: Path, identity_spiece: Path, tokenizer_json: Path) -> Tokenizer:
    paths = {
        "normalizing": (spiece, None),
        "identity": (identity_spiece, None),
        "tokenizers": (None, tokenizer_json),
    }
    return Tokenizer.load(*paths[request.param])


def check(tokenizer: Tokenizer, text: str) -> None:
    (located,) = tokenizer.locate([text])
    (ids,) = tokenizer.encode([text])
    assert np.array_equal(located.ids, ids)
    starts, stops = located.starts.tolist(), located.stops.tolist()
    assert starts == sorted(starts)
    assert stops == sorted(stops)
    for start, stop in zip(starts, stops, strict=True):
        if start < stop:
            assert text[start:stop] == text[start:stop].strip()
    for stop, start in zip(stops[:-1], starts[1:], strict=True):
        assert stop <= start  # no character is two tokens'


@pytest.mark.parametrize("text", HARD)
def test_tokens_are_in_order_and_do_not_overlap(tokenizer: Tokenizer, text: str) -> None:
    check(tokenizer, text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_so_it_is_with_whatever_text(tokenizer: Tokenizer, text: str) -> None:
    check(tokenizer, text)


@pytest.mark.parametrize("text", HARD)
def test_the_characters_of_tokens_are_what_the_tokens_say(spiece: Path, text: str) -> None:
    """But for characters that the normalizer makes many of: they are in one of their tokens."""
    model = SentencePieceProcessor(model_file=str(spiece))
    (located,) = Tokenizer.load(spiece, None).locate([text])
    known = located.ids != model.unk_id()
    for number in np.flatnonzero(known & (located.starts < located.stops)).tolist():
        piece = model.id_to_piece(int(located.ids[number])).replace("▁", " ").strip()
        here = text[located.starts[number] : located.stops[number]]
        whole = model.normalize(here).replace("▁", " ").strip()
        assert piece in whole or whole in piece


def test_words_are_found_where_they_are(tokenizer: Tokenizer) -> None:
    text = "  The  rook\n\nand the jackdaw, "
    (located,) = tokenizer.locate([text])
    covered = "".join(text[a:b] for a, b in zip(located.starts, located.stops, strict=True) if a < b)
    assert covered == "Therookandthejackdaw,"


def test_parts_of_a_long_text_are_where_they_belong(spiece: Path) -> None:
    text = "é ﬁnal  日本 words of 👩‍👩‍👧 many kinds " * 200
    tokenizer = Tokenizer.load(spiece, None)
    (whole,) = tokenizer.locate([text])
    (parts,) = located_in_parts(tokenizer.locate, 1000)([text])
    assert np.array_equal(parts.ids, whole.ids)
    solid = whole.starts < whole.stops
    assert np.array_equal(parts.starts < parts.stops, solid)
    assert np.array_equal(parts.starts[solid], whole.starts[solid])
    assert np.array_equal(parts.stops[solid], whole.stops[solid])


def test_blanks_are_those_that_python_strips() -> None:
    blanks = {chr(code) for code in range(0x110000) if chr(code).isspace()}
    assert {chr(code) for code in BLANKS} == blanks
