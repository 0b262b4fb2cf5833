"""Which characters of its text a token stands for.

A tokenizer's own offsets count a blank with the word after it. Here a token starts at the first character that is no
blank, at or behind its own begin, and stops behind the last one before its own end. So the tokens i to j stand for
text[start_i:stop_j], which has no blank at either end, and for nothing where start_i >= stop_j: blanks, or a part of a
character that the normalizer took apart.

Offsets are in characters (Unicode code points) of the text as it is, before any normalizer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLANKS = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)

_Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Located:
    """A text's tokens: ids, and the characters [start, stop) that each stands for."""

    ids: _Ints
    starts: _Ints
    stops: _Ints


def locate(text: str, ids: list[int], offsets: list[tuple[int, int]]) -> Located:
    """Makes tokens of ids and a tokenizer's own offsets [begin, end), in order, in characters of `text`."""
    begin_T, end_T = np.array(offsets, np.int64).reshape(-1, 2).T
    # the tokenizers library gives a character that became many tokens to each of them: the first shall have it
    begin_T = np.maximum(begin_T, np.append(0, end_T)[:-1])
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    solid = np.flatnonzero(~np.isin(characters, BLANKS))
    starts = np.append(solid, len(text))[np.searchsorted(solid, begin_T)]
    stops = np.append(0, solid + 1)[np.searchsorted(solid, end_T)]
    return Located(np.array(ids, np.int32), starts.astype(np.int32), stops.astype(np.int32))


def joined(parts: list[tuple[int, Located]]) -> Located:
    """Joins the tokens of the parts of one text, each with the character at which it begins."""
    return Located(
        np.concatenate([part.ids for _, part in parts]),
        np.concatenate([part.starts + begin for begin, part in parts]),
        np.concatenate([part.stops + begin for begin, part in parts]),
    )
