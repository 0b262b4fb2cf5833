"""Decompression: what was compressed comes back, in any pieces, and no file takes more memory than it may."""

import io
import lzma
import zlib

import pytest
from hypothesis import given, strategies as st

from pipeline.corpus.formats.decompression import decompressed


@given(
    st.lists(st.tuples(st.binary(max_size=3000), st.integers(0, 3)), min_size=1, max_size=4),
    st.lists(st.integers(1, 2000), min_size=1, max_size=5),
)
def test_streams_of_xz_and_zeros_between_them_are_one(streams: list[tuple[bytes, int]], sizes: list[int]) -> None:
    stored = b"".join(lzma.compress(data) + bytes(4 * padding) for data, padding in streams)
    pieces: list[bytes] = []
    with decompressed(io.BytesIO(stored), "xz") as stream:
        while piece := stream.read1(sizes[len(pieces) % len(sizes)]):
            pieces.append(piece)
    assert b"".join(pieces) == b"".join(data for data, _ in streams)


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
