"""The tokens that people add to a tokenizer's vocabulary, as the small files of a checkpoint folder name them.

File                        Names
added_tokens.json           tokens with their ids
tokenizer_config.json       `added_tokens_decoder`: tokens with ids and all else; further special tokens without ids
special_tokens_map.json     special tokens without ids

Which ids a tokenizer's own file gives, and so whether the files agree, is found where that file is read
(text/tokenizer.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import CheckpointError

SPIECE, TOKENIZER_JSON = "spiece.model", "tokenizer.json"  # the vocabulary itself is in one of them, or in both
ADDED, CONFIG, SPECIAL = "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"
FILES = (ADDED, CONFIG, SPECIAL)

CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"
# These stay text where a document has them written out, whatever the files say of them.
CONTROL_TOKENS = frozenset({CLS, SEP, MASK, "[PAD]", "[UNK]", "<pad>", "<unk>", "<s>", "</s>", "<mask>"})
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
# Lists of special tokens, as transformers 4 and 5 call them.
SPECIAL_LISTS = ("additional_special_tokens", "extra_special_tokens")
# Tokenizers whose ids are those of their spiece.model, or whatever a tokenizer.json says.
CLASSES = ("BigBirdTokenizer", "BigBirdTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in a text before the text is tokenized.

    `id` None: the vocabulary's, or the next that is free. `lstrip` and `rstrip` take blanks before and behind it with
    it, a `single_word` has none of a word's characters at its ends, a `normalized` one is looked for in the normalized
    text.
    """

    content: str
    id: int | None
    file: Path
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = True
    special: bool = False
    states_flags: bool = False  # or they are the defaults

    @property
    def is_control(self) -> bool:
        """Whether it stays text where a document has it written out."""
        return self.content in CONTROL_TOKENS

    @property
    def flags(self) -> dict[str, bool]:
        """How it is found, by the names that transformers gives."""
        return {name: getattr(self, name) for name in FLAGS}


@dataclass(frozen=True, slots=True)
class Declared:
    """What the small files say.

    `lists` has the files that name each token with its id, `specials` those named without.
    """

    lists: Mapping[Path, tuple[AddedToken, ...]] = field(default_factory=dict)
    specials: tuple[AddedToken, ...] = ()
    of_tokenizers: bool = False  # transformers 5 wrote the folder, with the tokenizers library

    @property
    def form(self) -> list[object]:
        """What of it is hashed into a scoring key: what decides token ids; empty where nobody added a token."""
        tokens = [token for tokens in self.lists.values() for token in tokens] + list(self.specials)
        added = sorted({(t.content, t.id is None, t.id or 0, *t.flags.values()) for t in tokens if not t.is_control})
        return [self.of_tokenizers, *map(list, added)] if added else []


def declared(folder: Path) -> Declared:
    """Reads the small files of a folder, of which there may be none.

    Raises:
        CheckpointError: a file that cannot be read, or a tokenizer that would give other ids than its vocabulary.
    """
    files = {name: _read(folder / name) for name in FILES if (folder / name).is_file()}
    config = files.get(CONFIG, {})
    path = folder / CONFIG
    has_own_file = (folder / TOKENIZER_JSON).is_file()
    _check_config(path, config, has_own_file)
    _check_ends(path, config)
    _check_ends(folder / SPECIAL, files.get(SPECIAL, {}))
    lists = {}
    if ADDED in files:
        lists[folder / ADDED] = tuple(_with_ids(folder / ADDED, files[ADDED]))
    if config.get("added_tokens_decoder"):
        lists[path] = tuple(_decoder(path, config["added_tokens_decoder"]))
    specials = [
        token
        for name, values in files.items()
        if name != ADDED
        for key in SPECIAL_LISTS
        for token in _specials(folder / name, key, values.get(key))
    ]
    return Declared(lists, tuple(specials), config.get("backend") == "tokenizers")


def _check_config(path: Path, config: Mapping[str, Any], has_own_file: bool) -> None:
    name = config.get("tokenizer_class")
    if name not in (None, *CLASSES) and not has_own_file:
        raise CheckpointError(
            f"{path}: tokenizer_class is {name!r}, which may not give the ids of its spiece.model; expected one of "
            f"{', '.join(CLASSES)}, or a tokenizer.json: load the tokenizer with transformers' AutoTokenizer and "
            "save_pretrained it into the folder"
        )
    if config.get("add_prefix_space") is False and not has_own_file:
        raise CheckpointError(
            f"{path}: add_prefix_space is false; expected true, as a spiece.model says itself whether a text begins "
            "with a blank"
        )
    if config.get("split_special_tokens"):
        raise CheckpointError(
            f"{path}: split_special_tokens is true; expected false: special tokens that were added are tokens"
        )


def _check_ends(path: Path, values: Mapping[str, Any]) -> None:
    for key, expected in (("cls_token", CLS), ("sep_token", SEP)):
        token = values.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        if token not in (None, expected):
            raise CheckpointError(
                f"{path}: {key} is {token!r}; expected {expected!r}, with which BigBird's windows begin and end"
            )


def _with_ids(path: Path, values: Mapping[str, Any]) -> Iterator[AddedToken]:
    for content, id_ in values.items():
        yield AddedToken(content, _id(path, content, id_), path)


def _decoder(path: Path, values: object) -> Iterator[AddedToken]:
    if not isinstance(values, dict):
        raise _wrong(path, "added_tokens_decoder", "an object of ids and tokens")
    for id_, token in values.items():
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise _wrong(path, f"added_tokens_decoder.{id_}", "an object with the token's content")
        number = int(id_) if id_.isdecimal() else None
        yield from_json(path, token, _id(path, token["content"], number))


def _specials(path: Path, key: str, values: object) -> Iterator[AddedToken]:
    values = list(values.values()) if isinstance(values, dict) else values or []
    if not isinstance(values, list):
        raise _wrong(path, key, "a list of tokens")
    for value in values:
        token = {"content": value} if isinstance(value, str) else value
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise _wrong(path, key, "a list of tokens")
        yield from_json(path, token | {"special": True}, None)


def from_json(path: Path, token: Mapping[str, Any], id_: int | None) -> AddedToken:
    """Reads a token as transformers writes it; a special one is not `normalized` unless it says so."""
    special = bool(token.get("special", False))
    flags = {name: bool(token.get(name, name == "normalized" and not special)) for name in FLAGS}
    return AddedToken(token["content"], id_, path, special=special, states_flags="lstrip" in token, **flags)


def agreed(
    lists: Mapping[Path, Iterable[AddedToken]],
    specials: Iterable[AddedToken],
    vocabulary: Mapping[str, int],
    own_file: Path,
) -> list[AddedToken]:
    """Every added token once, with its id, in the order of the ids.

    `vocabulary` is that of `own_file` without added tokens: its pieces and their ids.

    Raises:
        CheckpointError: two files say different things of a token, or one leaves out what another adds to the
        vocabulary.
    """
    pieces = {id_: piece for piece, id_ in vocabulary.items()}
    by_content: dict[str, AddedToken] = {}
    for path, tokens in lists.items():
        for token in tokens:
            _check_vocabulary(token, vocabulary, pieces, own_file)
            if token.content in by_content:
                _check_same(by_content[token.content], token)
            if token.content not in by_content or token.states_flags:
                by_content[token.content] = token
        _check_ids(path, tokens)
    for token in list(by_content.values()):
        if not token.is_control and token.content not in vocabulary:
            _check_listed(token, lists)
    for token in specials:
        _add_special(by_content, token, vocabulary, bool(lists))
    return sorted(by_content.values(), key=lambda token: token.id or 0)


def _check_vocabulary(
    token: AddedToken, vocabulary: Mapping[str, int], pieces: Mapping[int, str], own_file: Path
) -> None:
    piece_id = vocabulary.get(token.content)
    if piece_id is not None and piece_id != token.id:
        raise _disagree(token.file, own_file, token.content, token.id, piece_id)
    assert token.id is not None
    piece = pieces.get(token.id, token.content)
    if piece != token.content:
        raise CheckpointError(
            f"{token.file}: {token.content!r} has the id {token.id}, but in {own_file} that is {piece!r}'s; expected "
            "one token an id: the files are of two tokenizers"
        )


def _check_ids(path: Path, tokens: Iterable[AddedToken]) -> None:
    content_by_id: dict[int | None, str] = {}
    for token in tokens:
        other = content_by_id.setdefault(token.id, token.content)
        if other != token.content:
            raise CheckpointError(
                f"{path}: {other!r} and {token.content!r} have the same id {token.id}; expected one token an id"
            )


def _check_same(one: AddedToken, other: AddedToken) -> None:
    if one.id != other.id:
        raise _disagree(one.file, other.file, one.content, one.id, other.id)
    if one.states_flags and other.states_flags and one.flags != other.flags and not one.is_control:
        differ = [name for name in FLAGS if getattr(one, name) != getattr(other, name)]
        raise _disagree(
            one.file, other.file, f"{one.content}, {differ[0]}", getattr(one, differ[0]), getattr(other, differ[0])
        )


def _check_listed(token: AddedToken, lists: Mapping[Path, Iterable[AddedToken]]) -> None:
    for path, tokens in lists.items():
        if token.content not in {other.content for other in tokens}:
            raise _disagree(token.file, path, token.content, token.id, None)


def _add_special(
    by_content: dict[str, AddedToken], token: AddedToken, vocabulary: Mapping[str, int], listed: bool
) -> None:
    earlier = by_content.get(token.content)
    if earlier is not None and not earlier.states_flags:  # of added_tokens.json, which does not say
        by_content[token.content] = replace(earlier, special=True, normalized=False)
    if earlier is not None or token.is_control:
        return
    id_ = vocabulary.get(token.content)
    if id_ is None and listed:
        raise CheckpointError(
            f"{token.file}: {token.content!r} is a special token, but "
            f"{' and '.join(sorted({t.file.name for t in by_content.values()})) or ADDED} gives it no id; expected "
            "every added token with an id"
        )
    if id_ is None:
        ids = [*vocabulary.values(), *(other.id or 0 for other in by_content.values())]
        id_ = max(ids) + 1
    by_content[token.content] = replace(token, id=id_)


def _disagree(one: Path, other: Path, what: str, first: object, second: object) -> CheckpointError:
    has = "does not have it" if second is None else f"has {second}"
    return CheckpointError(
        f"{one} and {other.name} disagree: of the token {what!r} the first has {first}, the second {has}; expected "
        "the same: take both from one tokenizer's save_pretrained"
    )


def _id(path: Path, content: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckpointError(
            f"{path}: the token {content!r} has the id {value!r}; expected a whole number of at least 0"
        )
    return value


def _wrong(path: Path, key: str, expected: str) -> CheckpointError:
    return CheckpointError(f"{path}: {key}; expected {expected}")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); fetch the file again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values
