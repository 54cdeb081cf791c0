from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runtime.images.compression import PIECE_BYTES, CompressionError, decompressed, kind_of

DATA = bytes(range(256)) * 3000
PACKED = {
    "gzip": gzip.compress(DATA),
    "zstd": zstandard.compress(DATA),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "plain": DATA,
}


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("size", [1, 5, 4096, 1 << 20])
def test_every_kind_comes_out_whole_however_it_arrives(kind: str, size: int) -> None:
    packed = PACKED[kind]
    if size == 1:
        packed = {"gzip": gzip.compress, "zstd": zstandard.compress, "bzip2": bz2.compress}.get(
            kind, lzma.compress if kind == "xz" else bytes
        )(DATA[:600])
        assert b"".join(decompressed(chunks(packed, 1))) == DATA[:600]
        return
    assert kind_of(packed[:6]) == kind
    assert b"".join(decompressed(chunks(packed, size))) == DATA


@pytest.mark.parametrize(
    ("kind", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("xz", lzma.compress)]
)
def test_several_members_are_one_stream(kind: str, pack: object) -> None:
    assert callable(pack)
    packed = b"".join(pack(bytes([n]) * 1000) for n in range(50))
    assert b"".join(decompressed(chunks(packed, 777))) == b"".join(bytes([n]) * 1000 for n in range(50))


def test_pieces_are_bounded_however_strong_the_compression() -> None:
    bomb = gzip.compress(bytes(64 << 20), 9)
    assert len(bomb) < 100_000
    sizes = [len(piece) for piece in decompressed(iter([bomb]))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= PIECE_BYTES
    sizes = [len(piece) for piece in decompressed(iter([zstandard.compress(bytes(64 << 20))]))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= PIECE_BYTES


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_stream_that_ends_early_is_an_error(kind: str) -> None:
    for cut in (10, len(PACKED[kind]) // 2, len(PACKED[kind]) - 1):
        with pytest.raises(CompressionError):
            list(decompressed(chunks(PACKED[kind][:cut], 100)))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_damage_is_an_error_or_other_data_but_nothing_else(kind: str) -> None:
    for at in range(6, len(PACKED[kind]), max(1, len(PACKED[kind]) // 40)):
        damaged = bytearray(PACKED[kind])
        damaged[at] ^= 0x55
        try:
            list(decompressed(chunks(bytes(damaged), 500)))
        except CompressionError:
            pass


def test_a_window_beyond_measure_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = packed.compress(b"x" * 1000) + packed.flush()
    with pytest.raises(CompressionError):
        list(decompressed(iter([data])))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b""]),
)
def test_any_bytes_are_data_or_a_compression_error(data: bytes, magic: bytes) -> None:
    try:
        list(decompressed(chunks(magic + data, 50)))
    except CompressionError:
        pass
