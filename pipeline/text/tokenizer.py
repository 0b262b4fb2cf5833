"""Text -> token ids, exactly as the checkpoint was trained.

The ids come from the checkpoint's own sentencepiece model, 3–5 M tokens/s per core. Where the folder brings a
`tokenizer.json` too and the two disagree on the probe texts, the checkpoint was most likely trained with the latter, so
the tokenizers library is used and one log line says so.

A control token written out in a document ([SEP], </s>) is text and must not become a control token.

A text of more than PART characters is tokenized in parts, cut at a blank between two words, which bounds the memory: in
one call sentencepiece took 1.1 GB for 64 MB of text. The ids are those of the whole but for some of those that are
equally likely: sentencepiece's sums of scores are rounded, and after a million characters 4 ids in 231,628 depend on it.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import CheckpointError
from pipeline.text.offsets import Located, joined, locate

log = logging.getLogger(__name__)

PART = 2**20
CUT = re.compile(r"(?<=\S) (?=\w)")  # no mark that combines with the blank may follow
CUT_WITHIN = (
    4096  # characters before the end of a part; without a blank there, the part ends in a word
)

CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"
CONTROL_TOKENS = frozenset(
    {CLS, SEP, MASK, "[PAD]", "[UNK]", "<pad>", "<unk>", "<s>", "</s>", "<mask>"}
)

# Where tokenizers differ: blanks, newlines, ligatures, full-width forms, composed and combining marks, emoji, scripts.
PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    " leading and trailing blanks  and   runs of them ",
    "first line\nsecond line\n\n\tindented\r\nlast",
    "ﬁnal oﬃce, ＡＢＣ１２３, ½ ² ℃ … — “quotes” ‘and’ so on",
    "cafe\u0301 café naïve Ångström ſtraße İstanbul",
    "emoji 👩‍👩‍👧 🇺🇳 ✅ and zero\u200bwidth\u00a0blanks\u2028here",
    "def f(x): return {'a': [x ** 2 for _ in range(10)]}  # code_with_underscores",
    "日本語の文章 и русский текст, العربية עברית हिन्दी",
    "http://example.org/a?b=c&d=%20e, 3.14159e-10, 1,000,000 $5 €7",
)

Encode = Callable[[list[str]], list[npt.NDArray[np.int32]]]
Locate = Callable[[list[str]], list[Located]]


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Ids of texts, without [CLS] and [SEP], which the windows add.

    `locate` gives the same ids with their characters, and takes four times as long.
    """

    encode: Encode
    locate: Locate
    cls_id: int
    sep_id: int
    vocab_size: int
    mask_id: int | None  # only training hides tokens

    @classmethod
    def load(cls, spiece: Path | None, tokenizer_json: Path | None) -> "Tokenizer":
        """Raises CheckpointError for a file that is no tokenizer or has no [CLS] and [SEP]."""
        tokenizer = _load(spiece, tokenizer_json)
        return replace(
            tokenizer,
            encode=in_parts(tokenizer.encode),
            locate=located_in_parts(tokenizer.locate),
        )


def in_parts(encode: Encode, part: int = PART) -> Encode:
    """The same ids; no call of `encode` sees more than `part` characters of one text."""

    def encode_all(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        if all(len(text) <= part for text in texts):
            return encode(texts)
        return [
            np.concatenate([encode([piece])[0] for _, piece in _parts(text, part)])
            for text in texts
        ]

    return encode_all


def located_in_parts(locate: Locate, part: int = PART) -> Locate:
    """The same for `locate`."""

    def locate_all(texts: list[str]) -> list[Located]:
        if all(len(text) <= part for text in texts):
            return locate(texts)
        return [
            joined([(start, locate([piece])[0]) for start, piece in _parts(text, part)])
            for text in texts
        ]

    return locate_all


def _parts(text: str, part: int) -> Iterator[tuple[int, str]]:
    """Where each part starts, and the part."""
    start = 0
    while len(text) - start > part:
        within = text[max(start + 1, start + part - CUT_WITHIN) : start + part + 2]
        blanks = [blank.start() for blank in CUT.finditer(within)]
        if blanks:
            stop = start + part + 2 - len(within) + blanks[-1]
            yield start, text[start:stop]
            start = stop + 1  # without the blank: every part begins a word
        else:
            yield start, text[start : start + part]
            start += part
    yield start, text[start:]


def _load(spiece: Path | None, tokenizer_json: Path | None) -> Tokenizer:
    if spiece is None:
        if tokenizer_json is None:
            raise CheckpointError(
                "checkpoint: expected spiece.model or tokenizer.json, found neither"
            )
        return _from_tokenizer_json(tokenizer_json)
    sentencepiece = _from_spiece(spiece)
    if tokenizer_json is None:
        return sentencepiece
    return _agreed(sentencepiece, _from_tokenizer_json(tokenizer_json), spiece.parent)


def _agreed(sentencepiece: Tokenizer, other: Tokenizer, folder: Path) -> Tokenizer:
    pairs = zip(sentencepiece.encode(list(PROBES)), other.encode(list(PROBES)), strict=True)
    differ = sum(not np.array_equal(a, b) for a, b in pairs)
    if not differ:
        return sentencepiece
    log.warning(
        "%s: spiece.model and tokenizer.json differ on %d of %d probe texts: using tokenizer.json (slower)",
        folder, differ, len(PROBES),
    )  # fmt: skip
    return other


def _from_spiece(path: Path) -> Tokenizer:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(_without_literal_control_tokens(path.read_bytes()))
    except (
        Exception
    ) as error:  # protobuf and sentencepiece raise what they like; all mean a bad file
        raise CheckpointError(f"{path}: not a sentencepiece model ({error})") from error

    def encode(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        # one thread: Ray runs as many of these as there are cores
        return [np.asarray(ids, dtype=np.int32) for ids in processor.encode(texts, num_threads=1)]

    def locate_all(texts: list[str]) -> list[Located]:
        # one at a time: it makes four Python objects for each token
        found = ((text, processor.encode(text, return_type="offset_mapping")) for text in texts)
        return [locate(text, tokens["ids"], tokens["offsets"]) for text, tokens in found]

    def control(piece: str) -> int:
        if processor.id_to_piece(processor.piece_to_id(piece)) != piece:
            raise CheckpointError(
                f"{path}: no piece {piece}; BigBird needs {CLS} and {SEP} in its vocabulary"
            )
        return int(processor.piece_to_id(piece))

    mask_id = processor.piece_to_id(MASK)
    has_mask = processor.id_to_piece(mask_id) == MASK
    return Tokenizer(
        encode,
        locate_all,
        control(CLS),
        control(SEP),
        processor.get_piece_size(),
        mask_id if has_mask else None,
    )


def _without_literal_control_tokens(model: bytes) -> bytes:
    """Makes control tokens unmatchable in text: as type CONTROL they keep their id and never match."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    found = [p for p in proto.pieces if p.piece in CONTROL_TOKENS]
    matchable = [p for p in found if p.type in (p.USER_DEFINED, p.NORMAL)]
    for piece in matchable:
        piece.type = piece.CONTROL
    return bytes(proto.SerializeToString()) if matchable else model


def _from_tokenizer_json(path: Path) -> Tokenizer:
    import tokenizers

    try:
        own = tokenizers.Tokenizer.from_file(str(path))
        tokenizer = tokenizers.Tokenizer.from_str(
            _without_literal_control_pieces(path.read_text("utf-8"))
        )
    except Exception as error:  # the library raises bare Exception for a bad file
        raise CheckpointError(f"{path}: not a tokenizer ({error})") from error
    tokenizer.encode_special_tokens = True  # control tokens in a text are text
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]

    def locate_all(texts: list[str]) -> list[Located]:
        found = ((text, tokenizer.encode(text, add_special_tokens=False)) for text in texts)
        return [locate(text, tokens.ids, tokens.offsets) for text, tokens in found]

    def control(token: str) -> int:
        token_id = own.token_to_id(token)
        if token_id is None:
            raise CheckpointError(
                f"{path}: no token {token}; BigBird needs {CLS} and {SEP} in its vocabulary"
            )
        return int(token_id)

    return Tokenizer(
        encode, locate_all, control(CLS), control(SEP), own.get_vocab_size(), own.token_to_id(MASK)
    )


def _without_literal_control_pieces(tokenizer_json: str) -> str:
    """Makes control tokens unmatchable in text: a Unigram model would find them among its pieces.

    Ids stay as they are; the pieces get a name that no text has, as U+FFFF is no character.
    """
    tree = json.loads(tokenizer_json)
    tree["added_tokens"] = [t for t in tree["added_tokens"] if t["content"] not in CONTROL_TOKENS]
    if tree["model"].get("type") == "Unigram":
        tree["model"]["vocab"] = [
            [f"\uffff{piece}" if piece in CONTROL_TOKENS else piece, score]
            for piece, score in tree["model"]["vocab"]
        ]
    return json.dumps(tree)
