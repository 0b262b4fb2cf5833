"""Kinds of tokenizer folders as they are found, a line each: their ids are those of the tokenizer that wrote them.

That is the tokenizers library for a tokenizer.json. For a spiece.model with added tokens beside it is transformers'
slow tokenizer, which wrote such folders; or, where tokenizer_config.json is of transformers 5, its BigBirdTokenizer, on
a vocabulary without a table of characters: it leaves that table out, so that its ids of other vocabularies are not
those that anybody trained with.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BigBirdTokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.errors import CheckpointError
from pipeline.text.tokenizer import Tokenizer, harmless_cuts, in_parts
from tests.text.models import train

Ids = Callable[[str], list[int]]
Make = Callable[[Path, Path, Path], Any]  # a folder, a model with a table of characters, one without

WORDS = ["zorgblat", "zorg", "<url>", "new york", "🐦", "naïve-é", "C++"]
CONTEXTS = [
    "{0}",
    "a {0}",
    "{0} b",
    "a {0} b",
    "a{0}b",
    "a  {0}  b",
    "{0}{0}",
    "a {0} {0} b",
    "a {0}{1} b",
    "{0},{1}.",
    "({0})",
    "a\n{0}\nb",
    "\t{0} ",
    " {0}",
    "a-{0}",
    "a_{0}_b",
    "ａ{0}ｂ",
    "ein {0}, the rook\n\n",
    "nai\u0308ve-e\u0301 ｎｅｗ ｙｏｒｋ {0}",
]


class Slow(SentencePieceBackend):  # type: ignore[misc]
    """What BigBirdTokenizer was until transformers 5."""

    vocab_files_names = {"vocab_file": "spiece.model"}  # noqa: RUF012

    def __init__(self, vocab_file: str, **options: Any) -> None:
        names = {
            "unk": "<unk>",
            "bos": "<s>",
            "eos": "</s>",
            "pad": "<pad>",
            "cls": "[CLS]",
            "sep": "[SEP]",
            "mask": "[MASK]",
        }
        for key, name in names.items():
            options.setdefault(f"{key}_token", name)
        super().__init__(vocab_file=vocab_file, **options)


def texts(words: Iterable[str]) -> list[str]:
    words = list(words)
    made = [context.format(*pair) for context in CONTEXTS for pair in product(words, words[:3])]
    return [
        *dict.fromkeys([*made, *(text.upper() for text in made), *(text.title() for text in made), "no word of them"])
    ]


def of_library(path: Path) -> Ids:
    tokenizer = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def of_slow(path: Path) -> Ids:
    tokenizer = Slow.from_pretrained(path)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def of_transformers(path: Path) -> Ids:
    tokenizer = AutoTokenizer.from_pretrained(path)
    return lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"])


def write(path: Path, name: str, values: object) -> None:
    (path / name).write_text(json.dumps(values))


def library(change: Callable[[tokenizers.Tokenizer], object], *, spiece: bool = False, charsmap: bool = True) -> Make:
    """A tokenizer.json, perhaps beside the spiece.model that it was made of."""

    def make(path: Path, with_table: Path, without: Path) -> Ids:
        shutil.copy(with_table if charsmap else without, path / "spiece.model")
        proto = sentencepiece_model_pb2.ModelProto.FromString((path / "spiece.model").read_bytes())
        pieces = [(piece.piece, piece.score) for piece in proto.pieces]
        made = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=100))
        table = [normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)] if charsmap else []
        blanks = normalizers.Replace(tokenizers.Regex(" {2,}"), "▁")
        made.normalizer = normalizers.Sequence([*table, normalizers.Strip(left=False), blanks])
        made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
        made.add_special_tokens(["<pad>", "</s>", "<s>", "[CLS]", "[SEP]", "[MASK]"])
        change(made)
        made.save(str(path / "tokenizer.json"))
        if not spiece:
            (path / "spiece.model").unlink()
        return of_library(path)

    return make


def added(**flags: bool) -> Callable[[tokenizers.Tokenizer], object]:
    return lambda made: made.add_tokens([AddedToken(word, **flags) for word in WORDS])


def lower_cased(made: tokenizers.Tokenizer) -> None:
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), made.normalizer])
    made.add_tokens(["Zorgblat", "zorg"])


def cut_and_padded(made: tokenizers.Tokenizer) -> None:
    made.add_tokens(WORDS)
    made.enable_truncation(3)
    made.enable_padding(length=50)


def of_bert(path: Path, with_table: Path, without: Path) -> Ids:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "b",
        "the",
        "rook",
        "##s",
        "##b",
        "z",
        "##o",
        ",",
        ".",
    ]
    made = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(words[:5])
    made.add_tokens(WORDS)
    made.save(str(path / "tokenizer.json"))
    return of_library(path)


def slow(files: dict[str, object], *, table: bool = True) -> Make:
    """A spiece.model and small files beside it."""

    def make(path: Path, with_table: Path, without: Path) -> Ids:
        shutil.copy(with_table if table else without, path / "spiece.model")
        for name, values in files.items():
            write(path, name, values)
        return of_slow(path)

    return make


def decoder(**flags: bool) -> dict[str, object]:
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False}
    tokens = {str(2000 + i): {"content": word, **plain, **flags} for i, word in enumerate(WORDS)}
    return {"tokenizer_config.json": {"tokenizer_class": "BigBirdTokenizer", "added_tokens_decoder": tokens}}


def of_five(path: Path, with_table: Path, without: Path) -> Ids:
    """As transformers 5 saves it, but without its tokenizer.json."""
    shutil.copy(without, path / "spiece.model")
    tokenizer = BigBirdTokenizer.from_pretrained(path)
    tokenizer.add_tokens(WORDS)
    tokenizer.save_pretrained(path)
    (path / "tokenizer.json").unlink()
    write(path, "added_tokens.json", LISTED)
    return of_transformers(path)


def saved_by_five(path: Path, with_table: Path, without: Path) -> Ids:
    shutil.copy(with_table, path / "spiece.model")
    tokenizer = BigBirdTokenizer.from_pretrained(path)
    tokenizer.add_tokens(WORDS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<x>"]})
    tokenizer.save_pretrained(path)
    return of_transformers(path)


LISTED = {word: 2000 + i for i, word in enumerate(WORDS)}
SPECIALS = {
    "additional_special_tokens": [
        "<url>",
        {"content": "🐦", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False},
    ]
}
KINDS: dict[str, Make] = {
    "tokenizer.json: added words": library(added()),
    "tokenizer.json: special ones": library(added(special=True, normalized=False)),
    "tokenizer.json: lstrip": library(added(lstrip=True)),
    "tokenizer.json: rstrip": library(added(rstrip=True)),
    "tokenizer.json: single_word": library(added(single_word=True)),
    "tokenizer.json: not normalized": library(added(normalized=False)),
    "tokenizer.json: lstrip, rstrip and single_word": library(added(lstrip=True, rstrip=True, single_word=True)),
    "tokenizer.json: a newline": library(lambda made: made.add_tokens([AddedToken("\n", normalized=False), *WORDS])),
    "tokenizer.json: lower case": library(lower_cased),
    "tokenizer.json: truncation and padding": library(cut_and_padded),
    "tokenizer.json: without a table of characters": library(added(), charsmap=False),
    "tokenizer.json: BERT's": of_bert,
    "tokenizer.json and spiece.model: none added": library(lambda made: None, spiece=True),
    "tokenizer.json and spiece.model: added words": library(added(), spiece=True),
    "tokenizer.json and spiece.model: special ones": library(added(special=True), spiece=True),
    "transformers 5": saved_by_five,
    "transformers 5, without tokenizer.json": of_five,
    "spiece.model alone": slow({}),
    "spiece.model: added_tokens.json": slow({"added_tokens.json": LISTED}),
    "spiece.model: added_tokens.json, no table of characters": slow({"added_tokens.json": LISTED}, table=False),
    "spiece.model: added_tokens_decoder": slow(decoder()),
    "spiece.model: lstrip": slow(decoder(lstrip=True)),
    "spiece.model: rstrip": slow(decoder(rstrip=True)),
    "spiece.model: single_word": slow(decoder(single_word=True)),
    "spiece.model: lstrip and rstrip": slow(decoder(lstrip=True, rstrip=True)),
    "spiece.model: special_tokens_map.json": slow({"added_tokens.json": LISTED, "special_tokens_map.json": SPECIALS}),
    "spiece.model: special ones without ids": slow(
        {"tokenizer_config.json": {"additional_special_tokens": ["<url>", "<x>"]}}
    ),
    "spiece.model: a piece of the vocabulary": slow(
        {"tokenizer_config.json": {"extra_special_tokens": ["the", "▁rook"]}}
    ),
    "spiece.model: do_lower_case, which BigBird ignores": slow({"tokenizer_config.json": {"do_lower_case": True}}),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_ids_are_those_of_whoever_wrote_the_folder(
    make: Make, tmp_path: Path, spiece: Path, plain_spiece: Path
) -> None:
    ids = make(tmp_path, spiece, plain_spiece)
    tokenizer = Tokenizer.open(tmp_path)
    tried = texts([*WORDS, "<x>", "the"])
    found = [array.tolist() for array in tokenizer.encode(tried)]
    different = [(t, a, b) for t, a in zip(tried, found, strict=True) if a != (b := ids(t))]
    assert different == []
    for text, located in zip(tried, tokenizer.locate(tried), strict=True):
        assert located.ids.tolist() == tokenizer.encode([text])[0].tolist()
        stop = 0
        for start, next_stop in zip(located.starts, located.stops, strict=True):
            assert stop <= start or start >= next_stop
            stop = max(stop, next_stop)


PIECES = [
    *WORDS,
    *"ab.,-_\n\t ",
    "  ",
    "é",
    "e\u0301",
    "ﬁ",
    "ｚｏｒｇ",
    "new",
    "york",
    "the rook",
    "日本",
]
made_up = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.fixture(
    scope="module",
    params=[
        "tokenizer.json: added words",
        "tokenizer.json: single_word",
        "spiece.model: added_tokens.json",
        "spiece.model: single_word",
        "spiece.model: lstrip and rstrip",
        "transformers 5, without tokenizer.json",
    ],
)
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    spiece: Path,
    plain_spiece: Path,
) -> tuple[Tokenizer, Ids]:
    path = tmp_path_factory.mktemp("kind")
    ids = KINDS[request.param](path, spiece, plain_spiece)
    return Tokenizer.open(path), ids


@settings(max_examples=80, deadline=None)
@given(text=made_up)
def test_so_it_is_with_whatever_text(pair: tuple[Tokenizer, Ids], text: str) -> None:
    tokenizer, ids = pair
    assert tokenizer.encode([text])[0].tolist() == ids(text)
    assert tokenizer.locate([text])[0].ids.tolist() == ids(text)


@pytest.mark.parametrize(
    "kind",
    ["tokenizer.json: not normalized", "spiece.model: added_tokens.json", "transformers 5, without tokenizer.json"],
)
def test_an_added_token_is_located_where_it_stands(kind: str, tmp_path: Path, spiece: Path, plain_spiece: Path) -> None:
    ids = KINDS[kind](tmp_path, spiece, plain_spiece)
    text = "A new york rook,  zorgblat🐦 \n<url>zorgzorg é."
    located = Tokenizer.open(tmp_path).locate([text])[0]
    spans = zip(located.ids, located.starts, located.stops, strict=True)
    found = [text[start:stop] for id_, start, stop in spans if id_ >= 2000]
    assert found == ["new york", "zorgblat", "🐦", "<url>", "zorg", "zorg"]
    assert ids(text) == located.ids.tolist()


@pytest.mark.parametrize(
    "kind",
    [
        "tokenizer.json: lstrip",
        "tokenizer.json: added words",
        "spiece.model: added_tokens.json",
        "transformers 5, without tokenizer.json",
    ],
)
def test_no_part_of_a_long_text_begins_or_ends_within_an_added_token(
    kind: str, tmp_path: Path, spiece: Path, plain_spiece: Path
) -> None:
    KINDS[kind](tmp_path, spiece, plain_spiece)
    tokenizer = Tokenizer.open(tmp_path)
    text = "the rook saw new york and zorgblat with zorg in new york " * 300
    (whole,) = tokenizer.encode([text])
    (parts,) = in_parts(tokenizer.encode, 500, harmless_cuts(tokenizer))([text])
    assert np.array_equal(parts, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_stay_text(kind: str, tmp_path: Path, spiece: Path, plain_spiece: Path) -> None:
    KINDS[kind](tmp_path, spiece, plain_spiece)
    tokenizer = Tokenizer.open(tmp_path)
    (ids,) = tokenizer.encode(["a [SEP] b zorg[CLS]zorg [MASK]"])
    assert not {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id} & set(ids.tolist())


def test_control_tokens_may_be_added_ones(tmp_path: Path) -> None:
    """As the slow tokenizer adds them to a model that was trained without."""
    train(tmp_path / "spiece.model", "nmt_nfkc", symbols=["[X]"])
    write(tmp_path, "added_tokens.json", {"[CLS]": 2000, "[SEP]": 2001, "[MASK]": 2002})
    tokenizer = Tokenizer.open(tmp_path)
    slow = Slow.from_pretrained(tmp_path)
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (2000, 2001, 2002)
    assert (slow.cls_token_id, slow.sep_token_id, slow.mask_token_id) == (2000, 2001, 2002)
    assert tokenizer.vocab_size == len(slow) == 2003
    assert tokenizer.encode(["a [SEP] b"])[0].max() < 2000
    (tmp_path / "both").mkdir()
    model = tmp_path / "spiece.model"
    library(lambda made: None, spiece=True)(tmp_path / "both", model, model)
    both = Tokenizer.open(tmp_path / "both")
    made = tokenizers.Tokenizer.from_file(str(tmp_path / "both" / "tokenizer.json"))
    assert [both.cls_id, both.sep_id] == [made.token_to_id(name) for name in ("[CLS]", "[SEP]")]


def and_then(make: Make, change: Callable[[Path], object]) -> Make:
    def both(path: Path, with_table: Path, without: Path) -> None:
        make(path, with_table, without)
        change(path)

    return both


def without_id(path: Path) -> None:
    tree = json.loads((path / "tokenizer.json").read_text())
    tree["added_tokens"][-1]["id"] += 7
    write(path, "tokenizer.json", tree)


def other_pieces(path: Path) -> None:
    proto = sentencepiece_model_pb2.ModelProto.FromString((path / "spiece.model").read_bytes())
    proto.pieces[1500].piece = "▁anotherword"
    (path / "spiece.model").write_bytes(proto.SerializeToString())


def beside(name: str, values: object) -> Callable[[Path], None]:
    return lambda path: write(path, name, values)


LIBRARY, SPIECE = library(added()), slow({})
STRIPPED = decoder(lstrip=True)["tokenizer_config.json"]
REFUSED: dict[str, tuple[Make, str]] = {
    "another id than tokenizer.json": (
        and_then(LIBRARY, beside("added_tokens.json", LISTED | {"zorg": 2000, "zorgblat": 2001})),
        r"tokenizer.json and added_tokens.json disagree: of the token '\w+' the first has 200\d, the second has 200\d",
    ),
    "another id than added_tokens_decoder": (
        and_then(slow(decoder()), beside("added_tokens.json", LISTED | {"zorg": 2007})),
        "added_tokens.json and tokenizer_config.json disagree: of the token 'zorg' the first has 2007, the second has "
        "2001",
    ),
    "a token that tokenizer.json has not": (
        and_then(LIBRARY, beside("added_tokens.json", LISTED | {"more": 2007})),
        "added_tokens.json and tokenizer.json disagree: of the token 'more' .* does not have it",
    ),
    "a token that tokenizer.json has alone": (
        and_then(LIBRARY, beside("added_tokens.json", {"zorgblat": 2000})),
        "tokenizer.json and added_tokens.json disagree: of the token 'zorg' .* does not have it",
    ),
    "a token that added_tokens_decoder has alone": (
        and_then(slow(decoder()), beside("added_tokens.json", {"zorgblat": 2000})),
        "tokenizer_config.json and added_tokens.json disagree: of the token 'zorg' .* does not have it",
    ),
    "blanks taken in one file": (
        and_then(LIBRARY, beside("tokenizer_config.json", STRIPPED)),
        "tokenizer.json and tokenizer_config.json disagree: of the token 'zorgblat, lstrip' the first has False, the "
        "second has True",
    ),
    "an id of a piece": (
        slow({"added_tokens.json": {"zorg": 17}}),
        r"added_tokens.json: 'zorg' has the id 17, but in .*spiece.model that is '.*'s",
    ),
    "a piece under another id": (
        slow({"added_tokens.json": {"▁the": 2000}}),
        r"added_tokens.json and spiece.model disagree: of the token '▁the' the first has 2000, the second has \d+",
    ),
    "[CLS] under another id": (
        slow({"added_tokens.json": {"[CLS]": 2000}}),
        r"added_tokens.json and spiece.model disagree: of the token '\[CLS\]' the first has 2000, the second has 3",
    ),
    "two tokens of one id": (
        slow({"added_tokens.json": {"zorg": 2000, "blat": 2000}}),
        "added_tokens.json: 'zorg' and 'blat' have the same id 2000",
    ),
    "a gap in tokenizer.json": (
        and_then(LIBRARY, without_id),
        "tokenizer.json: the added token 'C.*' has the id 2013, but the tokenizers library and transformers give it "
        "2006",
    ),
    "a special token without an id": (
        and_then(LIBRARY, beside("tokenizer_config.json", {"additional_special_tokens": ["<z>"]})),
        "tokenizer_config.json: '<z>' is a special token, but tokenizer.json gives it no id",
    ),
    "a vocabulary of another model": (
        and_then(library(added(), spiece=True), other_pieces),
        "spiece.model and tokenizer.json disagree: 2000 pieces and 2000, the first that differs is .* with the id 1500",
    ),
    "a spiece.model that another class reads": (
        and_then(SPIECE, beside("tokenizer_config.json", {"tokenizer_class": "AlbertTokenizer"})),
        "tokenizer_class is 'AlbertTokenizer', which may not give the ids",
    ),
    "windows that begin with another token": (
        and_then(LIBRARY, beside("tokenizer_config.json", {"cls_token": "<s>"})),
        r"cls_token is '<s>'; expected '\[CLS\]'",
    ),
    "windows that end with another token": (
        and_then(SPIECE, beside("special_tokens_map.json", {"sep_token": {"content": "</s>"}})),
        r"sep_token is '</s>'; expected '\[SEP\]'",
    ),
    "special tokens that are split": (
        and_then(LIBRARY, beside("tokenizer_config.json", {"split_special_tokens": True})),
        "split_special_tokens is true",
    ),
    "no blank before a text": (
        and_then(SPIECE, beside("tokenizer_config.json", {"add_prefix_space": False})),
        "add_prefix_space is false",
    ),
    "ids that are none": (
        slow({"added_tokens.json": {"zorg": -1}}),
        "added_tokens.json: the token 'zorg' has the id -1; expected a whole number",
    ),
    "tokens turned round": (
        slow({"added_tokens.json": {"2000": "zorg"}}),
        "added_tokens.json: the token '2000' has the id 'zorg'; expected a whole number",
    ),
    "a list": (slow({"added_tokens.json": ["zorg"]}), "added_tokens.json: expected a JSON object, found list"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_files_that_disagree_are_refused(
    make: Make, words: str, tmp_path: Path, spiece: Path, plain_spiece: Path
) -> None:
    with contextlib.suppress(Exception):  # the other library may not read it either
        make(tmp_path, spiece, plain_spiece)
    with pytest.raises(CheckpointError, match=words):
        Tokenizer.open(tmp_path)


def test_an_encoder_without_an_embedding_for_an_id_is_refused(tmp_path: Path, spiece: Path) -> None:
    slow({"added_tokens.json": LISTED})(tmp_path, spiece, spiece)
    tokenizer = Tokenizer.open(tmp_path)
    tokenizer.check_fits(2000 + len(WORDS), tmp_path)
    with pytest.raises(CheckpointError, match="vocab_size is 2006, and the tokenizer has ids up to 2006"):
        tokenizer.check_fits(2000 + len(WORDS) - 1, tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "changes"),
    [
        ("added_tokens.json", {"zorg": 2000}, True),
        ("tokenizer_config.json", {"added_tokens_decoder": {"2000": {"content": "zorg"}}}, True),
        ("special_tokens_map.json", {"additional_special_tokens": ["<url>"]}, True),
        ("tokenizer_config.json", {"model_max_length": 512, "cls_token": "[CLS]"}, False),
        ("tokenizer_config.json", {"added_tokens_decoder": {"3": {"content": "[CLS]"}}}, False),
    ],
)
def test_every_file_that_decides_ids_is_of_the_digest(
    name: str, values: dict[str, Any], changes: bool, tmp_path: Path, spiece: Path
) -> None:
    write(tmp_path, "config.json", {"model_type": "big_bird"})
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    shutil.copy(spiece, tmp_path / "spiece.model")
    before = CheckpointFolder.open(tmp_path).tokenizer_digest()
    write(tmp_path, name, values)
    assert (CheckpointFolder.open(tmp_path).tokenizer_digest() != before) == changes
