"""The values of a JSON file that does not have one a line: an array's elements, and objects over many lines.

They are told apart by their brackets and given as bytes, so that each is parsed as a line of JSON Lines is, and a wrong
one costs itself only. One value is held at a time.
"""

import re
from collections.abc import Iterable, Iterator

from pipeline.corpus.corpus_file import MalformedContentsError

BLANK = b" \t\r\n\v\f\xef\xbb\xbf"  # a byte order mark too
BRACKETS = re.compile(rb'["{}\[\]]')
BRACKETS_AND_COMMAS = re.compile(rb'["{}\[\],]')
STRING_ENDS = re.compile(rb'["\\]')


def holds_lines(head: bytes) -> bool:
    """Whether a file that begins so is JSON Lines, as far as its first line tells; a wrong line may be one still."""
    line, _, rest = head.lstrip(BLANK).partition(b"\n")
    rest = rest.lstrip(BLANK)
    if not line.startswith((b"{", b"[")):
        return True
    splitter = _Splitter(len(line))
    try:
        values = len(list(splitter.feed(line)))
    except MalformedContentsError:
        return not (line.startswith(b"[") and line[1:].lstrip(BLANK).startswith(b"{"))
    if line.startswith(b"["):  # an array, and not lines of arrays
        has_objects = line[1:].lstrip(BLANK).startswith((b"{", b"[", b"]"))
        return bool(rest) and not splitter.depth and not has_objects
    if splitter.depth and not values:  # an object that goes on with its next name, or a line that was cut off
        return splitter.in_string or not rest.startswith((b'"', b"}"))
    return not splitter.depth and values == 1 and not line.rstrip(BLANK).endswith(b",")


def split(parts: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Yield each object, and each element of an array; None for one of more than `limit` bytes.

    Raises MalformedContentsError.
    """
    splitter = _Splitter(limit)
    for part in parts:
        yield from splitter.feed(part)
    if splitter.depth:
        raise MalformedContentsError("it ends inside an array or an object")


class _Splitter:
    def __init__(self, limit: int) -> None:
        self.depth = 0  # of brackets, the array's own among them
        self.in_string = False
        self._in_array = False
        self._limit = limit
        self._held: list[bytes] = []  # of the value that has begun
        self._held_bytes = 0
        self._escaped = 0  # bytes of the next part that a backslash before it takes
        self._is_first = True  # of its array

    def feed(self, part: bytes) -> Iterator[bytes | None]:
        """The values that end in the next part of the file."""
        begin, at = 0, self._escaped
        while (found := self._marks.search(part, at)) is not None:
            at = found.end()
            mark = found[0]
            if self.in_string:
                at += mark == b"\\"
                self.in_string = mark != b'"'
            elif self.depth == 0:
                self._begin(part[begin : at - 1], mark)
                begin = at if mark in b",[" else at - 1
            elif mark == b'"':
                self.in_string = True
            elif mark in b"{[":
                self.depth += 1
            elif mark == b"," and self.depth == 1 and self._in_array:
                yield self._take(part[begin : at - 1])
                begin, self._is_first = at, False
            elif mark in b"}]":
                self.depth -= 1
                if self.depth == 0:
                    yield from self._end(part[begin : at - 1], mark)
                    begin = at
        self._escaped = max(0, at - len(part))
        if self.depth:
            self._hold(part[begin:])
        else:
            self._check_blank(part[begin:])

    @property
    def _marks(self) -> re.Pattern[bytes]:
        if self.in_string:
            return STRING_ENDS
        return BRACKETS_AND_COMMAS if self.depth <= 1 else BRACKETS

    def _begin(self, before: bytes, mark: bytes) -> None:
        self._check_blank(before)
        if mark not in b"{[,":
            raise MalformedContentsError(f"expected an object or an array, found {mark.decode()}")
        self._in_array = self._is_first = mark == b"["
        self.depth = int(mark != b",")

    def _end(self, rest: bytes, mark: bytes) -> Iterator[bytes | None]:
        if not self._in_array:
            yield self._take(rest + mark)
            return
        last = self._take(rest)
        if last is None or last.strip(BLANK) or not self._is_first:  # `[]` has no element
            yield last
        if mark != b"]":
            raise MalformedContentsError(f"an array ends with {mark.decode()}")

    def _hold(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes <= self._limit:
            self._held.append(part)
        else:
            self._held.clear()

    def _take(self, rest: bytes) -> bytes | None:
        self._hold(rest)
        value = b"".join(self._held) if self._held_bytes <= self._limit else None
        self._held, self._held_bytes = [], 0
        return value

    def _check_blank(self, between: bytes) -> None:
        if between.strip(BLANK):
            raise MalformedContentsError("expected an object or an array")
