"""Bytes -> UTF-8, read as their byte order mark says. Without a mark text is UTF-8.

What is no text by its first bytes (an archive, an image, UTF-16 without a mark) is called so.
"""

import codecs
import io
from typing import Any, cast

from pipeline.corpus.formats.decompression import BUFFER, DAMAGE

FIRST_BYTES = 2**16  # of a file, which tell what it is
BYTE_ORDER_MARKS = {  # UTF-32's first: it begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "a ZIP archive or an Office file",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"ARROW1": "an Arrow file",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"\xff\xd8\xff": "JPEG",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"SQLite format 3\0": "SQLite",
    b"\x89HDF": "HDF5",
}
SIGNATURES_OF_CHARACTERS = {
    b"%PDF-": "PDF",
    b"{\\rtf1": "RTF",
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer (see git lfs pull)",
}
TAR_AT = 257  # where such an archive says so: it begins with a file's name
NUL_BYTES = (
    "NUL bytes: UTF-16 or UTF-32 without a byte order mark, or no text; save it as UTF-8, or leave it out of "
    "corpus.uris"
)
INVALID = "\udcff"  # becomes a byte that is no UTF-8

codecs.register_error("rookery-invalid", lambda error: (INVALID, cast(Any, error).end))


class Utf8(io.RawIOBase):
    """The UTF-8 of a stream.

    What is wrong in UTF-16 or UTF-32 becomes a byte that is wrong in UTF-8, so that it costs the same: its own row. A
    mark of UTF-8 stays, for bytes are counted.

    `head`: what the first FIRST_BYTES are in UTF-8. `is_transcoded`: whether bytes differ from the file's. `problem`:
    why it is no text, if its first bytes tell.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._damage: Exception | None = None
        self._ended = False
        first = self._first_bytes()
        mark = next((mark for mark in BYTE_ORDER_MARKS if first.startswith(mark)), b"")
        self.is_transcoded = bool(mark)
        self.problem = None if mark else _problem(first)
        self._decoder = codecs.getincrementaldecoder(BYTE_ORDER_MARKS[mark])("rookery-invalid") if mark else None
        self.head = self._ready = self._utf8(first[len(mark) :])

    def buffered(self) -> io.BufferedReader:
        """The stream, for reading by lines and in small pieces; take one only."""
        return io.BufferedReader(self, BUFFER)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready and not self._damage and self._decoder is None:
            return self._stream.readinto1(buffer)
        while not self._ready and not self._ended:
            self._ready = self._next(len(buffer))
        n_bytes = min(len(buffer), len(self._ready))
        buffer[:n_bytes] = self._ready[:n_bytes]
        self._ready = self._ready[n_bytes:]
        return n_bytes

    def _first_bytes(self) -> bytes:
        first = b""
        try:
            while part := self._stream.read1(FIRST_BYTES - len(first)):
                first += part
        except DAMAGE as damage:  # raised where it lies: behind what is whole
            self._damage = damage
        return first

    def _next(self, size: int) -> bytes:
        if self._damage:
            raise self._damage
        data = self._stream.read1(size)
        self._ended = not data
        return self._utf8(data)

    def _utf8(self, data: bytes) -> bytes:
        if self._decoder is None:
            return data
        return self._decoder.decode(data, self._ended).encode("utf-8", "surrogateescape")


def _problem(first: bytes) -> str | None:
    signs = SIGNATURES_OF_CHARACTERS if _has_characters(first) else SIGNATURES | SIGNATURES_OF_CHARACTERS
    kind = next((name for sign, name in signs.items() if first.startswith(sign)), None)
    if first[TAR_AT:].startswith(b"ustar"):
        kind = "a tar archive"
    if kind:
        return f"by its first bytes the file is {kind}; name it by what it is, or leave it out of corpus.uris"
    return NUL_BYTES if b"\0" in first[:4] else None


def _has_characters(first: bytes) -> bool:
    """Whether nothing but characters is there: a text may begin with ORC."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first)  # the last one may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in first
