"""Splits texts at the tokens that were added to a vocabulary, as transformers' slow tokenizers do.

The leftmost token counts, of those that begin there the longest. It is found in the text as it is, before any
normalizer. What is between two tokens is tokenized as a text of its own. An unknown piece in there that is an added
token after the normalizer (a letter and its accent, composed) is that token after all: the slow tokenizers look pieces
up by their names.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.added_tokens import AddedToken
from pipeline.text.offsets import Located, joined, locate

Encode = Callable[[list[str]], list[npt.NDArray[np.int32]]]  # texts -> ids
Locate = Callable[[list[str]], list[Located]]


@dataclass(slots=True)
class Piece:
    """Characters [start, stop) of a text; an added token, or what is between two."""

    start: int
    stop: int
    token: AddedToken | None = None


class Splitter:
    """Finds added tokens in texts.

    `names` gives the vocabulary's pieces of a text by name; those that it has not get `unknown_id`.
    """

    def __init__(self, tokens: Iterable[AddedToken], unknown_id: int, names: Callable[[str], list[str]]) -> None:
        self._tokens = {token.content: token for token in tokens}
        self._unknown_id = unknown_id
        self._names = names
        self._one_piece = {name: t for name, t in self._tokens.items() if name in names(name)}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def encoding(self, encode: Encode) -> Encode:
        """Makes what encodes whole texts of `encode`, which encodes what is between added tokens."""

        def encode_all(texts: list[str]) -> list[npt.NDArray[np.int32]]:
            pieces = [self.pieces(text) for text in texts]
            between = [
                text[piece.start : piece.stop]
                for text, of_text in zip(texts, pieces, strict=True)
                for piece in of_text
                if piece.token is None
            ]
            ids = map(self._known, between, encode(between))
            none = np.empty(0, np.int32)
            return [
                np.concatenate([none, *(_id(p.token) if p.token else next(ids) for p in of_text)]) for of_text in pieces
            ]

        return encode_all

    def _known(self, text: str, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        if not self._one_piece or self._unknown_id not in ids:
            return ids
        added = [self._one_piece.get(name) for name in self._names(text)]
        resolved = [token.id if token else id_ for token, id_ in zip(added, ids, strict=True)]
        return np.array(resolved, np.int32)

    def locating(self, locate: Locate) -> Locate:
        """Makes what locates the tokens of whole texts of `locate`, which locates those between added tokens."""
        return lambda texts: [self._located(text, locate) for text in texts]

    def _located(self, text: str, locate_all: Locate) -> Located:
        parts = [(0, Located(*np.empty((3, 0), np.int32)))]
        for piece in self.pieces(text):
            part = text[piece.start : piece.stop]
            if piece.token is None:
                located = locate_all([part])[0]
                located = replace(located, ids=self._known(part, located.ids))
            else:
                located = locate(part, _id(piece.token).tolist(), [(0, len(part))])
            parts.append((piece.start, located))
        return joined(parts)

    def pieces(self, text: str) -> list[Piece]:
        """Splits a text into pieces that are not empty, in order."""
        pieces = list(self._matched(text))
        for number, piece in enumerate(pieces):
            if piece.token is not None:
                left = pieces[number - 1] if number > 0 else None
                right = pieces[number + 1] if number + 1 < len(pieces) else None
                _settle(text, piece.token, piece, left, right)
        return [piece for piece in pieces if piece.start < piece.stop]

    def _matched(self, text: str) -> Iterable[Piece]:
        end = 0
        for match in self._pattern.finditer(text):
            if match.start() > end:
                yield Piece(end, match.start())
            yield Piece(match.start(), match.end(), self._tokens[match.group()])
            end = match.end()
        if end < len(text):
            yield Piece(end, len(text))


def _settle(text: str, token: AddedToken, piece: Piece, left: Piece | None, right: Piece | None) -> None:
    """Takes the blanks that are the token's from its neighbours, or gives the token to them."""
    joins_left = left is not None and left.start < left.stop and text[left.stop - 1] != " "
    joins_right = right is not None and right.start < right.stop and text[right.start] != " "
    if token.rstrip and right is not None:
        while right.start < right.stop and text[right.start].isspace():
            right.start += 1
    if token.lstrip and left is not None:
        while left.start < left.stop and text[left.stop - 1].isspace():
            left.stop -= 1
    if not token.single_word:
        return
    if left is not None and joins_left:
        left.stop, left.token = piece.stop, None
        piece.start = piece.stop
    elif right is not None and joins_right:
        right.start, right.token = piece.start, None
        piece.stop = piece.start


def _id(token: AddedToken) -> npt.NDArray[np.int32]:
    return np.array([token.id], np.int32)
