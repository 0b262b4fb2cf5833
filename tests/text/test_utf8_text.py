"""A text over UTF-8 bytes is the str that they decode to, piece by piece."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import example, given, strategies as st

from pipeline.text.tokenizer import Tokenizer, in_parts
from pipeline.text.utf8_text import BLOCK, LARGE_COLUMN_BYTES, Utf8Text, sha256, texts_of

characters = st.characters(exclude_categories=["Cs"])


def utf8(text: str) -> Utf8Text:
    return Utf8Text.of(pa.py_buffer(text.encode()))


@given(st.text(characters, max_size=9), st.integers(0, 3 * BLOCK), st.data())
@example("é", BLOCK, None)
@example("a👩é", BLOCK // 2, None)
def test_any_slice_is_that_of_the_str(drawn: str, times: int, data: st.DataObject | None) -> None:
    """Of texts of several blocks, whose borders lie within characters."""
    text = "x" * (times % 5) + drawn * (times // 5)
    lazy = utf8(text)
    assert len(lazy) == len(text)
    assert lazy.isspace() == text.isspace()
    assert sha256(lazy) == sha256(text) == hashlib.sha256(text.encode()).hexdigest()
    at = st.integers(0, len(text) + 2)
    for _ in range(5):
        start, stop = (data.draw(at), data.draw(at)) if data else (len(text) // 3, len(text))
        assert lazy[start:stop] == text[start:stop]
    assert (lazy[3:], lazy[:], str(lazy)) == (text[3:], text, text)


def test_blanks_of_many_blocks_are_blanks() -> None:
    blanks = "\u2003 \n" * BLOCK
    assert utf8(blanks).isspace()
    assert not utf8(blanks + "a").isspace()
    assert not utf8("").isspace()


def test_only_a_large_text_stays_as_it_lies() -> None:
    large = "é" * (LARGE_COLUMN_BYTES // 2) + "a"
    found = texts_of(pa.array(["before", None, large, "", "after"])[1:])
    assert [type(text) for text in found] == [type(None), Utf8Text, str, str]
    assert list(map(str, found)) == ["None", large, "", "after"]


def test_it_has_the_ids_of_the_str(spiece: Path) -> None:
    tokenizer = Tokenizer.load(spiece, None)
    text = "The scheduler assigns 👩‍👩‍👧 to naïve nodes, 日本語 too. " * 3000
    encode = in_parts(tokenizer.encode, 5000)
    np.testing.assert_array_equal(encode([utf8(text)])[0], encode([text])[0])
