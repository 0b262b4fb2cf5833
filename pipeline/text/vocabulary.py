"""A sentencepiece vocabulary from a corpus's own text: unigram, with BigBird's control tokens."""

import io
import zlib
from collections.abc import Iterable

from sentencepiece import SentencePieceTrainer

from pipeline.added_tokens import CLS, MASK, SEP
from pipeline.errors import ConfigError

CHARACTERS = 40_000_000  # that it is trained on: more text takes longer and changes little
LONGEST_LINE = 20_000  # bytes: sentencepiece leaves out longer ones
THREADS = 2  # fixed: sums over threads are rounded, and must come out the same on every machine


def train_vocabulary(texts: Iterable[tuple[str, str]], size: int) -> bytes:
    """Trains a sentencepiece model of `size` pieces on ids and texts, serialized; the same texts give the same bytes.

    Raises:
        ConfigError: the texts have too little in them for so many pieces.
    """
    lines = [line for text in sample(texts) for line in _lines(text)]
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            max_sentence_length=LONGEST_LINE,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            pad_piece="<pad>",
            control_symbols=[CLS, SEP, MASK],
            num_threads=THREADS,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"init.vocabulary {size}: {len(lines):,} lines of text do not give so many pieces ({error}); set it lower"
        ) from error
    return model.getvalue()


def sample(texts: Iterable[tuple[str, str]], characters: int = CHARACTERS) -> list[str]:
    """Takes at most so many characters, of documents that a hash of their ids chooses, in the order of the texts."""
    sampled: list[tuple[int, str]] = []
    n_characters, shift = 0, 0
    for id_, text in texts:
        number = zlib.crc32(id_.encode())
        if number % 2**shift:
            continue
        sampled.append((number, text))
        n_characters += len(text)
        while n_characters > characters and len(sampled) > 1:
            shift += 1
            sampled = [(number, text) for number, text in sampled if not number % 2**shift]
            n_characters = sum(len(text) for _, text in sampled)
    return [text for _, text in sampled]


def _lines(text: str) -> list[str]:
    """Pieces of at most LONGEST_LINE bytes: one character has at most 4."""
    step = LONGEST_LINE // 4
    return [line[start : start + step] for line in text.split("\n") for start in range(0, len(line), step)]
