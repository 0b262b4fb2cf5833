"""Decompression: what was compressed comes back, in any pieces, and no file takes more memory than it may."""

import bz2
import io
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.corpus_file import Compression
from pipeline.corpus.formats.decompression import DAMAGE, decompressed

COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {"bzip2": bz2.compress, "xz": lzma.compress}


@given(
    streams=st.lists(st.tuples(st.binary(max_size=3000), st.integers(0, 3)), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=5),
)
@pytest.mark.parametrize(("compression", "compress"), COMPRESS.items())
def test_streams_and_zeros_between_them_are_one(
    streams: list[tuple[bytes, int]], sizes: list[int], compression: Compression, compress: Callable[[bytes], bytes]
) -> None:
    stored = b"".join(compress(data) + bytes(4 * padding) for data, padding in streams)
    pieces: list[bytes] = []
    with decompressed(io.BytesIO(stored), compression) as stream:
        while piece := stream.read1(sizes[len(pieces) % len(sizes)]):
            pieces.append(piece)
    assert b"".join(pieces) == b"".join(data for data, _ in streams)


@pytest.mark.parametrize(("compression", "compress"), COMPRESS.items())
def test_a_damaged_stream_behind_a_good_one_is_no_end(
    compression: Compression, compress: Callable[[bytes], bytes]
) -> None:
    second = compress(b"second")
    for damaged in (b"\xff" + second[1:], second[:4] + b"\xff" + second[5:], second[:-1], second + b"junk"):
        with decompressed(io.BytesIO(compress(b"first\n") + damaged), compression) as stream:
            assert stream.readline() == b"first\n"
            with pytest.raises(DAMAGE):
                stream.read()


@pytest.mark.parametrize(("compression", "compress"), COMPRESS.items())
def test_what_lies_before_damage_is_read(compression: Compression, compress: Callable[[bytes], bytes]) -> None:
    data = random.Random(0).randbytes(300_000)
    stored = bytearray(compress(data) + compress(data))
    stored[len(stored) * 3 // 4] ^= 0xFF
    pieces: list[bytes] = []
    with decompressed(io.BytesIO(stored), compression) as stream, pytest.raises(DAMAGE):
        pieces.extend(iter(lambda: stream.read1(1000), b""))
    assert b"".join(pieces)[:300_000] == data


def test_a_file_of_xz_can_not_ask_for_all_of_the_memory() -> None:
    small = lzma.compress(b"text", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}])
    greedy = _with_dictionary(small, 2**30)  # compressing with one takes a multiple of it
    with decompressed(io.BytesIO(greedy), "xz") as stream, pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        stream.read()


def _with_dictionary(stored: bytes, size: int) -> bytes:
    """The stream with another dictionary size in its block's header, whose check sum is made right again."""
    header_bytes = (stored[12] + 1) * 4
    header = bytearray(stored[12 : 12 + header_bytes])
    at = header.index(0x21) + 2  # LZMA2's id, the size of its properties, and the property
    header[at] = 2 * (size.bit_length() - 1 - 12)  # 2^n bytes, as the format's specification has it (5.3.1)
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return stored[:12] + bytes(header) + stored[12 + header_bytes :]
