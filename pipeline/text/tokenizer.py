"""Text -> token ids, exactly as the checkpoint was trained.

The ids come from the checkpoint's own sentencepiece model, 3–5 M tokens/s per core. Where the folder brings a
`tokenizer.json` too and the two disagree on the probe texts, the checkpoint was most likely trained with the latter, so
the tokenizers library is used and one log line says so.

Tokens that were added to the vocabulary are found as the checkpoint's own tokenizer finds them. A `tokenizer.json` that
has some is taken as it is: the two libraries differ in what they do with the blanks beside an added token. Without that
file the rule is the slow tokenizer's, which wrote such folders before transformers 5: the text is split at the tokens
as they are written, and each piece between them is tokenized as a text of its own (text/splitting.py). Folders of
transformers 5 say `"backend": "tokenizers"`, and are tokenized by that library.

A control token written out in a document ([SEP], </s>) is text and must not become a control token.

A text of more than PART characters is tokenized in parts, cut at a blank between two words, which bounds the memory: in
one call sentencepiece took 1.1 GB for 64 MB of text. The ids are those of the whole but for some of those that are
equally likely: sentencepiece's sums of scores are rounded, and after a million characters 4 ids in 231,628 depend on
it.
"""

import json
import logging
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.added_tokens import (
    CLS,
    CONTROL_TOKENS,
    MASK,
    SEP,
    SPIECE,
    TOKENIZER_JSON,
    AddedToken,
    Declared,
    agreed,
    declared,
    from_json,
)
from pipeline.errors import CheckpointError
from pipeline.text.offsets import Located, joined, locate
from pipeline.text.splitting import Encode, Locate, Splitter
from pipeline.text.utf8_text import Text

_log = logging.getLogger(__name__)

PART = 2**20
WHOLE = sys.maxsize
CUT = re.compile(r"(?<=\S) (?=\w)")  # no mark that combines with the blank may follow
CUT_WITHIN = 4096  # characters before the end of a part; without a blank there, the part ends in a word

REACH = 256  # characters on each side of a cut that have to give the same ids with it and without
TRIES = 32  # cuts

NOTHING = Declared()

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

Harmless = Callable[[Text, int], bool]
EncodeTexts = Callable[[Sequence[Text]], list[npt.NDArray[np.int32]]]
LocateTexts = Callable[[Sequence[Text]], list[Located]]
Tree = dict[str, Any]  # a tokenizer.json


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Ids of texts, without [CLS] and [SEP], which the windows add.

    `locate` gives the same ids with their characters, and takes four times as long.
    """

    encode: EncodeTexts
    locate: LocateTexts
    cls_id: int
    sep_id: int
    vocab_size: int  # one more than the largest id
    mask_id: int | None  # only training hides tokens
    added: tuple[str, ...] = ()

    @classmethod
    def load(cls, spiece: Path | None, tokenizer_json: Path | None, additions: Declared = NOTHING) -> "Tokenizer":
        """Loads the tokenizer of one file or of two that agree.

        Raises CheckpointError for a file that is no tokenizer, has no [CLS] and [SEP], or disagrees with the other.
        """
        tokenizer = _load(spiece, tokenizer_json, additions)
        harmless = harmless_cuts(tokenizer) if tokenizer.added else None
        return replace(
            tokenizer,
            encode=in_parts(tokenizer.encode, harmless=harmless),
            locate=located_in_parts(tokenizer.locate, harmless=harmless),
        )

    @classmethod
    def open(cls, folder: Path) -> "Tokenizer":
        """Loads the tokenizer of a checkpoint folder. Raises CheckpointError as `load` does."""
        spiece, tokenizer_json = folder / SPIECE, folder / TOKENIZER_JSON
        return cls.load(
            spiece if spiece.is_file() else None,
            tokenizer_json if tokenizer_json.is_file() else None,
            declared(folder),
        )

    def check_fits(self, vocab_size: int, folder: Path) -> None:
        """Raises CheckpointError where the encoder of config.json has no embedding for an id of this tokenizer."""
        if self.vocab_size > vocab_size:
            raise CheckpointError(
                f"{folder}: config.json and the tokenizer's files disagree: vocab_size is {vocab_size}, and the "
                f"tokenizer has ids up to {self.vocab_size - 1}; expected an embedding for each id: they are of two "
                "checkpoints, or the model was not resized when tokens were added"
            )


def in_parts(encode: Encode, part: int = PART, harmless: Harmless | None = None) -> EncodeTexts:
    """Makes an `encode` with the ids of `encode`, no call of which sees more than `part` characters of one text.

    `harmless` tells whether a text may be cut at a blank; without it any blank will do.
    """

    def encode_all(texts: Sequence[Text]) -> list[npt.NDArray[np.int32]]:
        if all(len(text) <= part for text in texts):
            return encode(list(map(str, texts)))
        return [_end_to_end(encode([piece])[0] for _, piece in _parts(text, part, harmless)) for text in texts]

    return encode_all


def _end_to_end(parts: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    ids = bytearray()  # grows where it is, where np.concatenate would hold everything twice
    for part in parts:
        ids += part.tobytes()
    return np.frombuffer(ids, np.int32)


def located_in_parts(locate: Locate, part: int = PART, harmless: Harmless | None = None) -> LocateTexts:
    """Makes a `locate` with the tokens of `locate`, no call of which sees more than `part` characters of one text.

    `harmless` tells whether a text may be cut at a blank; without it any blank will do.
    """

    def locate_all(texts: Sequence[Text]) -> list[Located]:
        if all(len(text) <= part for text in texts):
            return locate(list(map(str, texts)))
        return [
            joined([(start, locate([piece])[0]) for start, piece in _parts(text, part, harmless)]) for text in texts
        ]

    return locate_all


def harmless_cuts(tokenizer: Tokenizer) -> Harmless:
    """Makes what tells whether a text can be cut at a blank: not where an added token holds it or takes it along."""
    reach = REACH + 2 * max(map(len, tokenizer.added))

    def same_ids(text: Text, blank: int) -> bool:
        before, behind = text[max(0, blank - reach) : blank], text[blank + 1 : blank + 1 + reach]
        *parts, whole = tokenizer.encode([before, behind, f"{before} {behind}"])
        return np.array_equal(np.concatenate(parts), whole)

    return same_ids


def _parts(text: Text, part: int, harmless: Harmless | None) -> Iterator[tuple[int, str]]:
    """Where each part starts, and the part."""
    start = 0
    while len(text) - start > part:
        within = text[max(start + 1, start + part - CUT_WITHIN) : start + part + 2]
        first = start + part + 2 - len(within)
        blanks = [first + blank.start() for blank in CUT.finditer(within)]
        if blanks and harmless is not None:
            last = reversed(blanks[-TRIES:])
            blanks = [next((blank for blank in last if harmless(text, blank)), blanks[-1])]
        if blanks:
            stop = blanks[-1]
            yield start, text[start:stop]
            start = stop + 1  # without the blank: every part begins a word
        else:
            yield start, text[start : start + part]
            start += part
    yield start, text[start:]


def _load(spiece: Path | None, tokenizer_json: Path | None, additions: Declared) -> Tokenizer:
    if tokenizer_json is None:
        if spiece is None:
            raise CheckpointError("checkpoint: expected spiece.model or tokenizer.json, found neither")
        return _from_spiece(spiece, additions)
    tree = _read_tree(tokenizer_json)
    other = _from_tree(_with_declared(tree, tokenizer_json, additions), tokenizer_json)
    if spiece is None:
        return other
    controls = tuple(token for token in _added(tree, tokenizer_json) if token.is_control)
    sentencepiece = _from_spiece(spiece, Declared({tokenizer_json: controls}))
    _refuse_other_pieces(spiece, tokenizer_json, tree)
    return other if other.added else _agreed(sentencepiece, other, spiece.parent)


def _agreed(sentencepiece: Tokenizer, other: Tokenizer, folder: Path) -> Tokenizer:
    pairs = zip(sentencepiece.encode(list(PROBES)), other.encode(list(PROBES)), strict=True)
    differ = sum(not np.array_equal(a, b) for a, b in pairs)
    if not differ:
        return sentencepiece
    _log.warning(
        "%s: spiece.model and tokenizer.json differ on %d of %d probe texts: using tokenizer.json (slower)",
        folder,
        differ,
        len(PROBES),
    )
    return other


def _refuse_other_pieces(spiece: Path, tokenizer_json: Path, tree: Tree) -> None:
    """Two vocabularies are of two tokenizers; one of them may still be read in two ways, of which _agreed chooses."""
    pieces, others = _pieces(spiece.read_bytes()), _vocabulary(tree)
    differ = sorted({*pieces.items()} ^ {*others.items()}, key=lambda piece: piece[1])
    if differ and tree["model"].get("type") == "Unigram":
        piece, id_ = differ[0]
        raise CheckpointError(
            f"{spiece} and {tokenizer_json.name} disagree: {len(pieces)} pieces and {len(others)}, the first that "
            f"differs is {piece!r} with the id {id_}; expected one vocabulary: remove the file that the checkpoint "
            "was not trained with"
        )


def _from_spiece(path: Path, additions: Declared) -> Tokenizer:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    model = path.read_bytes()
    try:
        processor.LoadFromSerializedProto(_without_literal_control_tokens(model))
    except Exception as error:  # protobuf and sentencepiece raise what they like
        raise CheckpointError(f"{path}: not a sentencepiece model ({error})") from error
    added: list[AddedToken] = []
    if additions.lists or additions.specials:
        added = agreed(additions.lists, additions.specials, _pieces(model), path)
    splitting = [token for token in added if not token.is_control]
    if splitting and additions.of_tokenizers:
        return _from_tree(_tree_of(model, added), path)

    def encode(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        # one thread: Ray runs as many of these as there are cores
        return [np.asarray(ids, dtype=np.int32) for ids in processor.encode(texts, num_threads=1)]

    def locate_all(texts: list[str]) -> list[Located]:
        # one at a time: it makes four Python objects for each token
        encodings = ((text, processor.encode(text, return_type="offset_mapping")) for text in texts)
        return [locate(text, tokens["ids"], tokens["offsets"]) for text, tokens in encodings]

    def control(piece: str) -> int | None:
        listed = next((token.id for token in added if token.content == piece), None)
        is_piece = processor.id_to_piece(processor.piece_to_id(piece)) == piece
        return int(processor.piece_to_id(piece)) if is_piece else listed

    calls: tuple[Encode, Locate] = encode, locate_all
    if splitting:
        splitter = Splitter(splitting, processor.unk_id(), lambda text: processor.encode(text, out_type=str))
        calls = splitter.encoding(encode), splitter.locating(locate_all)
    return Tokenizer(
        in_parts(calls[0], WHOLE),
        located_in_parts(calls[1], WHOLE),
        _required(path, CLS, control(CLS)),
        _required(path, SEP, control(SEP)),
        max([processor.get_piece_size(), *((token.id or 0) + 1 for token in added)]),
        control(MASK),
        tuple(token.content for token in splitting),
    )


def _required(path: Path, token: str, id_: int | None) -> int:
    if id_ is None:
        kind = "token" if path.suffix == ".json" else "piece"
        raise CheckpointError(f"{path}: no {kind} {token}; BigBird needs {CLS} and {SEP} in its vocabulary")
    return id_


def _proto(model: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(model)


def _pieces(model: bytes) -> dict[str, int]:
    return {piece.piece: id_ for id_, piece in enumerate(_proto(model).pieces)}


def _without_literal_control_tokens(model: bytes) -> bytes:
    """Makes control tokens unmatchable in text: as type CONTROL they keep their id and never match."""
    proto = _proto(model)
    controls = [p for p in proto.pieces if p.piece in CONTROL_TOKENS]
    matchable = [p for p in controls if p.type in (p.USER_DEFINED, p.NORMAL)]
    for piece in matchable:
        piece.type = piece.CONTROL
    return bytes(proto.SerializeToString()) if matchable else model


def _tree_of(model: bytes, added: list[AddedToken]) -> Tree:
    """Makes a tokenizer.json of a sentencepiece model as transformers 5 does, but with the model's table of characters.

    transformers 5.23 leaves that table out, so a newline becomes <unk> there where the model reads a blank.
    """
    proto = _proto(model)
    blanks = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    charsmap = proto.normalizer_spec.precompiled_charsmap
    charsmap_normalizer = {"type": "Precompiled", "precompiled_charsmap": b64encode(charsmap).decode()}
    unknown = [id_ for id_, piece in enumerate(proto.pieces) if piece.type == piece.UNKNOWN]
    return {
        "version": "1.0",
        "added_tokens": [_entry(token) for token in added],
        "normalizer": {"type": "Sequence", "normalizers": [charsmap_normalizer, blanks] if charsmap else [blanks]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": unknown[0], "vocab": [[p.piece, p.score] for p in proto.pieces]},
    }


def _entry(token: AddedToken) -> dict[str, object]:
    return {"id": token.id, "content": token.content, "special": token.special, **token.flags}


def _read_tree(path: Path) -> Tree:
    import tokenizers

    try:
        text = path.read_text("utf-8")
        tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for a bad file
        raise CheckpointError(f"{path}: not a tokenizer ({error})") from error
    tree: Tree = json.loads(text)
    return tree


def _vocabulary(tree: Tree) -> dict[str, int]:
    """The pieces of the model, without added tokens, and their ids."""
    vocab = tree["model"]["vocab"]
    return vocab if isinstance(vocab, dict) else {piece: id_ for id_, (piece, _) in enumerate(vocab)}


def _added(tree: Tree, path: Path) -> list[AddedToken]:
    return [from_json(path, token, token["id"]) for token in tree["added_tokens"]]


def _with_declared(tree: Tree, path: Path, additions: Declared) -> Tree:
    """Adds the pieces of its vocabulary that other files of the folder make added tokens."""
    tokens_of_tree = _added(tree, path)
    listed = {token.content for token in tokens_of_tree}
    tokens = agreed({path: tokens_of_tree, **additions.lists}, additions.specials, _vocabulary(tree), path)
    more = [_entry(t) for t in tokens if t.content not in listed and not t.is_control]
    return tree | {"added_tokens": [*tree["added_tokens"], *more]}


def _from_tree(tree: Tree, path: Path) -> Tokenizer:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(_without_literal_control_tokens_in(tree)))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]

    def locate_all(texts: list[str]) -> list[Located]:
        encodings = ((text, tokenizer.encode(text, add_special_tokens=False)) for text in texts)
        return [locate(text, tokens.ids, tokens.offsets) for text, tokens in encodings]

    for token in tree["added_tokens"]:
        # the library counts on from the vocabulary's end, whatever the file says
        id_ = tokenizer.token_to_id(_hidden(token["content"]))
        if id_ != token["id"]:
            raise CheckpointError(
                f"{path}: the added token {token['content']!r} has the id {token['id']}, but the tokenizers library "
                f"and transformers give it {id_}; expected added tokens in the order of their ids, without a gap: "
                "save the tokenizer anew with save_pretrained"
            )
    return Tokenizer(
        in_parts(encode, WHOLE),
        located_in_parts(locate_all, WHOLE),
        _required(path, CLS, tokenizer.token_to_id(_hidden(CLS))),
        _required(path, SEP, tokenizer.token_to_id(_hidden(SEP))),
        max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1,
        tokenizer.token_to_id(_hidden(MASK)),
        tuple(t["content"] for t in tree["added_tokens"] if t["content"] not in CONTROL_TOKENS),
    )


def _hidden(token: str) -> str:
    """A control token under a name that no text has, as U+FFFF is no character."""
    return f"\uffff{token}" if token in CONTROL_TOKENS else token


def _without_literal_control_tokens_in(tree: Tree) -> Tree:
    """Makes control tokens unmatchable in text, as added tokens and as pieces of a model; ids stay as they are."""
    model: Mapping[str, Any] = tree["model"]
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        vocab = {_hidden(piece): id_ for piece, id_ in vocab.items()}
    else:
        vocab = [[_hidden(piece), score] for piece, score in vocab]
    model = {**model, "vocab": vocab}
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = _hidden(model["unk_token"])
    added = [token | {"content": _hidden(token["content"])} for token in tree["added_tokens"]]
    return tree | {"model": model, "added_tokens": added, "post_processor": None}
