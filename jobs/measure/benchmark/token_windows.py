"""What is computed: windows of one length, and a real mix of lengths.

Each document is cut to one window of 4,096 tokens, so that documents per second mean the same to everyone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jobs.sample import CHECKPOINT
from pipeline.added_tokens import SPIECE
from pipeline.text.packing import pack
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

TokenWindow = npt.NDArray[np.int32]
Pack = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]

MAX_TOKENS = 4096
BLOCK_SIZE = 64
# Every twentieth of 13,591 real documents (UN speeches, design proposals, medical pages), in tokens of the sample's
# vocabulary: 36 % fill a window.
REAL_LENGTHS = (
    138, 342, 508, 651, 835, 1065, 1304, 1586, 1911, 2343, 2818, 3230, 3659,
    4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096,
)  # fmt: skip  # a table, not a line for each


def real_mix(count: int) -> list[TokenWindow]:
    """Makes `count` windows of random tokens whose lengths are spread as those of real documents."""
    shares = (np.arange(count) + 0.5) / count
    lengths = np.interp(shares, np.linspace(0, 1, len(REAL_LENGTHS)), REAL_LENGTHS).astype(int)
    return _shuffled([_random(length) for length in lengths])


def of_texts(texts: Sequence[str], count: int) -> list[TokenWindow]:
    """Takes the first window of `count` of the texts, evenly spaced."""
    indices = np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int)
    return _shuffled(tokenized([texts[i] for i in indices]))


def tokenized(texts: Sequence[str]) -> list[TokenWindow]:
    """Makes the first window of each text, with the sample's vocabulary."""
    tokenizer = Tokenizer.load(CHECKPOINT / SPIECE, None)
    body = WindowPolicy(MAX_TOKENS).body
    return [
        np.concatenate([[tokenizer.cls_id], ids[:body], [tokenizer.sep_id]]).astype(np.int32)
        for ids in tokenizer.encode(list(texts))
    ]


def of_length(length: int, tokens: int) -> list[TokenWindow]:
    """Makes windows of `length` random tokens each, `tokens` in all, and at least one."""
    return [_random(length) for _ in range(max(1, tokens // length))]


def read_texts(corpus: str) -> list[str]:
    """Reads the column `text` of a Parquet file, or of all below a folder; blank texts are left out."""
    import pyarrow.dataset  # only here: what has no corpus has no need of it

    texts = pyarrow.dataset.dataset(corpus, format="parquet").to_table(columns=["text"])["text"]
    return [text for text in texts.to_pylist() if text and not text.isspace()]


def packs(windows: Sequence[TokenWindow], budget: int) -> tuple[list[int], list[Pack]]:
    """Packs windows; gives the order in which the packs take them, and the packs."""
    groups = pack([len(window) for window in windows], budget=budget, block_size=BLOCK_SIZE)
    return [i for group in groups for i in group], [
        (np.concatenate([windows[i] for i in group]), np.array([len(windows[i]) for i in group])) for group in groups
    ]


def in_order(rows: npt.NDArray[np.float32], order: Sequence[int]) -> npt.NDArray[np.float32]:
    """Undoes `order`: the row computed for window i becomes row i."""
    ordered = np.empty_like(rows)
    ordered[np.asarray(order)] = rows
    return ordered


def tokens(windows: Sequence[TokenWindow]) -> int:
    """Counts the tokens of windows, [CLS] and [SEP] included."""
    return sum(map(len, windows))


def _random(length: int) -> TokenWindow:
    generator = np.random.default_rng(length)
    return generator.integers(100, 8_000, length, dtype=np.int32)


def _shuffled(windows: list[TokenWindow]) -> list[TokenWindow]:
    return [windows[i] for i in np.random.default_rng(0).permutation(len(windows))]
