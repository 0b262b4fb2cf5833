"""Erased ids in what runs tell of themselves: in reports, whose tables name ids, and in records, whose messages may.

    _runs/<run id>/summary.json, progress.json   strings of JSON
    _runs/<run id>/report.html                   texts between two tags

What tells of an erased id is replaced as a whole, one string or one text. A digest says whether a text is an id, and
not whether it holds one: so what is asked for is the text itself, each word of it, and each part in quotation marks.
"""

import ast
import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.tables.erased_ids import ErasedIds

ERASED_TEXT = "(erased)"  # in the place of an id
BETWEEN_TAGS = re.compile(r">([^<>]+)<")
QUOTE = re.compile("['\"]")
QUOTES_TRIED = 8  # as the end of what one begins: an id may hold some, and so do words like `can't`
AROUND_WORDS = ",;:.()"
Scrub = Callable[[str], str]


def erased_ids_told(data: bytes, erased: ErasedIds) -> set[str]:
    """Gives the erased ids that a report or a record tells of."""
    ids: set[str] = set()

    def note(text: str) -> str:
        ids.update(erased.among([*_possible_ids(text)]))
        return text

    _changed(data, note)
    return ids


def without_erased_ids(data: bytes, erased: ErasedIds) -> bytes:
    """Replaces each text of a report or a record that tells of an erased id."""
    return _changed(data, lambda text: ERASED_TEXT if erased.holds([*_possible_ids(text)]).any() else text)


def _changed(data: bytes, change: Scrub) -> bytes:
    text = data.decode(errors="replace")
    if not text.startswith("<"):
        return _changed_json(text, change).encode()
    head, body, rest = text.partition("<body>")  # texts of the style sheet are none of the corpus's
    return "".join([head, body, BETWEEN_TAGS.sub(lambda match: _changed_text(match, change), rest)]).encode()


def _changed_json(text: str, change: Scrub) -> str:
    try:
        tree = json.loads(text)
    except ValueError:
        return change(text)
    return json.dumps(_changed_strings(tree, change), indent=1, ensure_ascii=False) + "\n"


def _changed_text(match: re.Match[str], change: Scrub) -> str:
    before = html.unescape(match[1])
    after = change(before)
    return match[0] if after == before else f">{html.escape(after)}<"


def _changed_strings(value: Any, change: Scrub) -> Any:
    match value:
        case str():
            return change(value)
        case list():
            return [_changed_strings(item, change) for item in value]
        case dict():
            return {key: _changed_strings(item, change) for key, item in value.items()}
    return value


def _possible_ids(text: str) -> set[str]:
    words = text.split()
    return {text, *words, *(word.strip(AROUND_WORDS) for word in words), *_quoted(text)} - {""}


def _quoted(text: str) -> Iterator[str]:
    """Every string that stands in a text as Python writes it."""
    places = [match.start() for match in QUOTE.finditer(text)]
    for number, start in enumerate(places):
        for end in places[number + 1 : number + 1 + QUOTES_TRIED]:
            with contextlib.suppress(ValueError, SyntaxError):
                yield str(ast.literal_eval(text[start : end + 1]))
