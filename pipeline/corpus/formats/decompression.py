"""A file's bytes as they were before they were compressed; streams that were written one behind the other are one."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa

from pipeline.corpus.corpus_file import Compression

BUFFER = 2**20
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
XZ_BYTES = 2**28  # of memory for one file: `xz -9` asks for 65 MiB, and a file may ask for 4 GiB
PIECE = 2**13  # bytes decompressed at a time: no more is lost before damage


@contextmanager
def decompressed(file: BinaryIO, compression: Compression | None) -> Iterator[io.BufferedIOBase]:
    """A file's bytes as they were before they were compressed."""
    if compression == "gzip":
        with gzip.open(file) as stream:
            yield cast(io.BufferedIOBase, stream)
    else:
        # a store's own readline copies a whole block for each line
        with io.BufferedReader(_raw(file, compression), BUFFER) as buffered:
            yield buffered


def _raw(file: BinaryIO, compression: Compression | None) -> io.RawIOBase:
    if compression == "zstd":
        return _Zstandard(file)
    if compression in STREAMS:
        return _Streams(file, STREAMS[compression])
    return cast(io.RawIOBase, file)


def _new_xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_BYTES)


NewStream = Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
STREAMS: dict[Compression | None, NewStream] = {"bzip2": bz2.BZ2Decompressor, "xz": _new_xz_stream}


class _Streams(io.RawIOBase):
    """Decompressed bytes of streams of bzip2 or xz, up to about where damage lies.

    Python's own readers take what follows a stream and is damaged for the end, and have no limit of memory.
    """

    def __init__(self, file: BinaryIO, new_stream: NewStream) -> None:
        self._file, self._new_stream = file, new_stream
        self._stream = new_stream()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            compressed = b""
            if self._stream.eof:
                compressed = self._behind_stream()
                if not compressed:
                    return 0
                self._stream = self._new_stream()
            elif self._stream.needs_input:
                compressed = self._file.read(BUFFER)
                if not compressed:
                    raise EOFError("it ends before its stream does")
            if data := self._stream.decompress(compressed, min(len(buffer), PIECE)):
                buffer[: len(data)] = data
                return len(data)

    def _behind_stream(self) -> bytes:
        """What follows a stream's end, without the zeros that may pad it; empty at the file's end."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest and (part := self._file.read(BUFFER)):
            rest = part.lstrip(b"\0")
        return rest


class _Zstandard(io.RawIOBase):
    """Decompressed bytes up to the very damage: Arrow's own stream drops all of a read that ends in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = pa.CompressedInputStream(file, "zstd")
        self._given = 0
        self._damage: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._damage:
            raise self._damage
        try:
            n_bytes = int(self._stream.readinto(buffer))
        except OSError as error:
            if error.errno is not None:  # the store's
                raise
            self._damage = error
            n_bytes = self._read_up_to_damage(buffer)
        self._given += n_bytes
        return n_bytes

    def _read_up_to_damage(self, buffer: Any) -> int:
        self._file.seek(0)
        stream, left = pa.CompressedInputStream(self._file, "zstd"), self._given
        while left:
            left -= len(stream.read(min(left, BUFFER)))
        for n_bytes in range(len(buffer)):
            try:
                buffer[n_bytes : n_bytes + 1] = stream.read(1)
            except OSError:
                if n_bytes:
                    return n_bytes
                raise
        return len(buffer)
