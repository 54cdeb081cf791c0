from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.images import tarwriter
from runtime.images.tar import DIRECTORY, FILE, Entry, TarReader
from runtime.images.tarfields import NS, TarError, parse_pax, parse_time_ns
from tests.fakes.image_files import directory, entry, file, hardlink, symlink, tar


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    """Every entry with its contents, holes filled."""
    reader = TarReader(chunked(data, size))
    found = []
    while (one := reader.next()) is not None:
        content = bytearray(one.size)
        for offset, piece in reader.pieces():
            content[offset : offset + len(piece)] = piece
        found.append((one, bytes(content)))
    reader.drain()
    return found


def names(data: bytes, size: int = 1 << 20) -> list[bytes]:
    return [one.name for one, _ in read(data, size)]


SAMPLE = tar(
    directory("etc", mode=0o700, uid=5, gid=6),
    file("etc/a", b"x" * 1300, mtime=1_700_000_000.25, pax_headers={"SCHILY.xattr.user.k": "v"}),
    symlink("etc/s", "a"),
    hardlink("etc/h", "etc/a"),
    entry("dev", tarfile.CHRTYPE, devmajor=5, devminor=1),
    file("x" * 150 + "/" + "y" * 180, b"long"),
    file("etc/empty"),
)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_tells_the_same(format: int) -> None:
    path = "d" * 90 + "/" + "f" * 90
    found = read(tar(directory("d", uid=7), file(path, b"data", mode=0o4755), format=format))
    assert [(one.name, one.kind, one.mode, content) for one, content in found] == [
        (b"d/", DIRECTORY, 0o755, b""),
        (path.encode(), FILE, 0o4755, b"data"),
    ]
    assert found[0][0].uid == 7


def test_pax_headers_win_over_the_plain_ones() -> None:
    found = {one.name: one for one, _ in read(SAMPLE)}
    assert found[b"etc/a"].mtime_ns == 1_700_000_000 * NS + NS // 4
    assert found[b"etc/a"].xattrs == {"user.k": b"v"}
    assert found[b"etc/h"].link == b"etc/a"
    assert found[b"etc/h"].size == 0
    assert (found[b"dev"].major, found[b"dev"].minor) == (5, 1)
    assert b"x" * 150 + b"/" + b"y" * 180 in found


def test_the_stream_may_be_cut_at_every_byte() -> None:
    whole = [(one.name, one.kind, one.mtime_ns, content) for one, content in read(SAMPLE)]
    for size in (1, 2, 3, 511, 512, 513, 1000):
        assert [(one.name, one.kind, one.mtime_ns, content) for one, content in read(SAMPLE, size)] == whole
    for cut in range(0, len(SAMPLE), 7):
        reader = TarReader(iter([SAMPLE[:cut], SAMPLE[cut:]]))
        assert len(list(reader)) == len(whole)


def test_an_archive_that_ends_early_is_an_error() -> None:
    end = SAMPLE.index(b"long") + 4
    for cut in range(1, end, 97):
        if cut % 512:
            with pytest.raises(TarError):
                read(SAMPLE[:cut])


def test_an_empty_stream_and_two_zero_blocks_hold_nothing() -> None:
    assert read(b"") == []
    assert read(bytes(1024)) == []
    assert read(bytes(10240)) == []


def test_data_after_the_end_mark_is_not_read_as_entries() -> None:
    assert names(tar(file("a")) + tar(file("b"))) == [b"a"]


def test_a_wrong_checksum_is_an_error() -> None:
    broken = bytearray(tar(file("a", b"x")))
    broken[0] ^= 1
    with pytest.raises(TarError, match="checksum"):
        read(bytes(broken))


@pytest.mark.parametrize("sparse_version", ["0.0", "0.1", "1.0", "old"])
def test_sparse_files_of_gnu_tar_are_read(tmp_path: Path, sparse_version: str) -> None:
    source = tmp_path / "holes"
    with open(source, "wb") as target:
        for at in range(40):
            target.seek(at * 1_000_000)
            target.write(b"data%d" % at)
        target.truncate(50_000_000)
    flags = ["--format=gnu"] if sparse_version == "old" else [f"--sparse-version={sparse_version}"]
    if sparse_version != "old":
        flags.append("--format=posix")
    made = subprocess.run(
        ["tar", "-C", tmp_path, "--sparse", *flags, "-c", "holes"], capture_output=True, check=True
    ).stdout
    [(one, content)] = read(made, 4097)
    assert one.name == b"holes"
    assert one.sparse is not None
    assert content == source.read_bytes()


def test_a_sparse_map_that_overlaps_or_leads_beyond_the_file_is_an_error() -> None:
    for numbers in ("0,10,5,10", "0,4,100,16", "0,30", "0", "0,-1"):
        made = tar(
            file(
                "s",
                b"x" * 20,
                pax_headers={"GNU.sparse.map": numbers, "GNU.sparse.size": "40", "GNU.sparse.name": "s"},
            )
        )
        with pytest.raises(TarError):
            read(made)


def test_base_256_numbers_are_read() -> None:
    made = tar(file("a", b"", uid=1 << 24, mtime=-5), format=tarfile.GNU_FORMAT)
    [(one, _)] = read(made)
    assert one.uid == 1 << 24
    assert one.mtime_ns == -5 * NS


def test_a_size_beyond_all_measure_is_an_error() -> None:
    info = entry("a")
    info.size = 1 << 60
    with pytest.raises(TarError, match="claims"):
        read(info.tobuf(tarfile.GNU_FORMAT))


def test_extended_headers_are_bounded() -> None:
    info = entry("a", tarfile.XHDTYPE)
    info.size = 2 << 20
    with pytest.raises(TarError, match="too long"):
        read(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2 << 20))


def test_an_archive_of_mostly_extended_headers_is_read() -> None:
    members = []
    for at in range(300):
        info, data = file(f"d/{at}", b"x" * at)
        info.pax_headers = {f"SCHILY.xattr.user.k{key}": f"{at}.{key}" * 20 for key in range(60)}
        info.pax_headers |= {"path": f"d/{'long' * 50}/{at}", "mtime": f"{at}.5", "comment": "c" * 3000}
        members.append((info, data))
    found = list(read(tar(*members)))
    assert len(found) == 300
    for at, (one, content) in enumerate(found):
        assert one.name.endswith(b"/%d" % at)
        assert one.mtime_ns == at * NS + NS // 2
        assert one.xattrs is not None
        assert len(one.xattrs) == 60
        assert one.xattrs["user.k59"] == (f"{at}.59" * 20).encode()
        assert content == b"x" * at


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(TarError, match="unknown kind"):
        read(entry("a", b"Z").tobuf(tarfile.USTAR_FORMAT))


def test_global_headers_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "x"}) as archive:
        archive.addfile(entry("a"))
    assert names(buffer.getvalue()) == [b"a"]


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"9 path=a\n", {"path": b"a"}),
        (b"9 path=a\n9 path=b\n", {"path": b"b"}),
        (b"9 path=a\n8 path=\n", {}),
        (b"12 k=a=b=c\n\n", {"k": b"a=b=c\n"}),
        (b"10 k=a=b=\n", {"k": b"a=b="}),
        (b"9 path=a", None),
        (b"99 path=a\n", None),
        (b"x path=a\n", None),
        (b"5 ab\n", None),
        (b"", {}),
        (b"21 SCHILY.xattr.u=\0\xff\n", {"SCHILY.xattr.u": b"\0\xff"}),
    ],
)
def test_parse_pax(data: bytes, records: dict[str, bytes] | None) -> None:
    if records is None:
        with pytest.raises(TarError):
            parse_pax(data)
    else:
        assert parse_pax(data) == records


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"1", NS),
        (b"1.5", NS + NS // 2),
        (b"1.123456789999", NS + 123456789),
        (b"-1.5", -NS - NS // 2),
        (b"-0.5", -NS // 2),
        (b".5", NS // 2),
    ],
)
def test_parse_time_ns(text: bytes, ns: int) -> None:
    assert parse_time_ns(text) == ns


@given(st.binary(max_size=2048))
def test_any_bytes_are_entries_or_a_tar_error(data: bytes) -> None:
    try:
        read(data)
    except TarError:
        pass


@settings(max_examples=300)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255), st.integers(1, 2000))
def test_a_damaged_archive_is_entries_or_a_tar_error(at: int, value: int, size: int) -> None:
    damaged = bytearray(SAMPLE)
    damaged[at] = value
    # The checksum is put right, so that the damage reaches what is behind it.
    block = at // 512 * 512
    head = damaged[block : block + 512]
    damaged[block + 148 : block + 156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 256)
    reader = TarReader(chunked(bytes(damaged), size))
    try:
        for _ in reader:
            for _piece in reader.pieces():
                pass
    except TarError:
        pass


_names = st.lists(
    st.binary(min_size=1, max_size=90).filter(lambda b: not set(b) & {0, 47}), min_size=1, max_size=5
)


@given(
    _names.map(b"/".join),
    st.integers(0, 0o7777),
    st.integers(0, 0xFFFFFFFE),
    st.integers(0, 1 << 33),
    st.dictionaries(st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=200)),
    st.binary(max_size=700),
)
def test_what_was_written_is_read_again(
    name: bytes, mode: int, uid: int, mtime: int, xattrs: dict[str, bytes], data: bytes
) -> None:
    header = tarwriter.header(name, mode=mode, uid=uid, gid=uid, size=len(data), mtime=mtime, xattrs=xattrs)
    [(one, content)] = read(header + data + tarwriter.padding(len(data)) + tarwriter.END, 333)
    assert (one.name, one.mode, one.uid, one.gid) == (name, mode, uid, uid)
    assert (one.mtime_ns, one.xattrs or {}, content) == (mtime * NS, xattrs, data)


def test_gnu_tar_reads_what_was_written() -> None:
    name = b"d" * 200 + b"/" + b"f" * 120
    made = tarwriter.header(name, size=3, uid=1 << 25) + b"abc" + tarwriter.padding(3) + tarwriter.END
    listed = subprocess.run(["tar", "tv", "--numeric-owner"], input=made, capture_output=True, check=True)
    assert name in listed.stdout
    assert b"%d/0" % (1 << 25) in listed.stdout
