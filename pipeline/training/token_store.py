"""Documents as training reads them: token ids on disk, end to end, and a target for each.

Ids are mapped, not loaded: all workers of a machine share them, and a corpus may be larger than memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.text.tokenizer import Tokenizer

TEXTS_PER_CALL = 64  # tokenized per call

Ids = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class TokenizedDocuments:
    """Document c has the ids token_N[start_C[c] : start_C[c + 1]]; `target`, [C, …]: tasks/targets.py."""

    token_N: Ids
    start_C: npt.NDArray[np.int64]
    target: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.start_C) - 1

    @property
    def length_C(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, without [CLS] and [SEP]."""
        return np.diff(self.start_C)

    def ids(self, document: int) -> Ids:
        """Gives a document's token ids, without [CLS] and [SEP]."""
        return self.token_N[self.start_C[document] : self.start_C[document + 1]]

    @classmethod
    def load(cls, folder: Path) -> "TokenizedDocuments":
        """Opens what a TokenWriter wrote; token ids stay on disk until they are read."""
        arrays = np.load(folder / "documents.npz")
        path, dtype = folder / "tokens.bin", arrays["token_type"].dtype
        token_N = np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
        return cls(token_N, arrays["start"], arrays["target"])


class TokenWriter:
    """Tokenizes documents one by one into a folder."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.tokenizer = tokenizer
        self.dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)
        self.lengths: list[int] = []
        (folder / "tokens.bin").write_bytes(b"")
        self._waiting: list[str] = []

    def add(self, text: str) -> None:
        """Tokenizes one more document, now or with later ones."""
        self._waiting.append(text)
        if len(self._waiting) == TEXTS_PER_CALL:
            self._flush()

    def finish(self, target: npt.NDArray[Any]) -> TokenizedDocuments:
        """Writes what is left; `target` has one entry for each document."""
        self._flush()
        assert len(target) == len(self.lengths)
        start_C = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        np.savez(
            self.folder / "documents.npz",
            start=start_C,
            target=target,
            token_type=np.empty(0, self.dtype),
        )
        return TokenizedDocuments.load(self.folder)

    def _flush(self) -> None:
        with (self.folder / "tokens.bin").open("ab") as file:
            for ids in self.tokenizer.encode(self._waiting):
                file.write(ids.astype(self.dtype).tobytes())
                self.lengths.append(len(ids))
        self._waiting = []


def write_texts(folder: Path, tokenizer: Tokenizer, texts: Iterable[str]) -> TokenizedDocuments:
    """Writes documents without targets, for the masked-language-model phase; their target has the shape [C, 0]."""
    writer = TokenWriter(folder, tokenizer)
    count = 0
    for count, text in enumerate(texts, 1):  # noqa: B007
        writer.add(text)
    return writer.finish(np.zeros((count, 0), np.float32))
