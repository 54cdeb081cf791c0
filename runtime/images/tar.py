"""Reading tar archives from a stream of chunks: entries, their data, nothing on a disk.

Owns the formats: ustar, PAX, GNU long names, GNU and PAX sparse files, base-256 numbers. Never touches a
file system: whoever reads decides what an entry may do. Everything a stream can claim is bounded.

Spec: POSIX.1-2001 pax, GNU tar "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.images.tarfields import (
    NS,
    TarError,
    check_sum,
    decimal,
    number,
    parse_pax,
    parse_time_ns,
    sparse_numbers,
)

BLOCK = 512
EXTENSION_MAX_BYTES = 1 << 20  # of one PAX header or GNU long name
XATTRS_MAX = 1024  # of one entry
SPARSE_MAX_PIECES = 1 << 16  # of one entry
ENTRY_MAX_BYTES = 1 << 50  # of one entry's declared size

_ZERO = bytes(BLOCK)

FILE, HARDLINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PLAIN = frozenset((b"0", b"\0", b"7"))
_WITHOUT_DATA = frozenset((HARDLINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO))


class Entry:
    """One member, names as bytes exactly as written."""

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "size",
        "sparse",
        "stored",
        "uid",
        "xattrs",
    )

    name: bytes
    link: bytes
    kind: bytes  # one of the constants above
    mode: int  # permission bits, with setuid, setgid and sticky
    uid: int
    gid: int
    size: int  # of the file when extracted
    stored: int  # bytes of data in the archive
    mtime_ns: int
    major: int
    minor: int
    xattrs: dict[str, bytes] | None
    sparse: list[tuple[int, int]] | None  # (offset, length) of what is not a hole


class TarReader:
    """Iterates over the entries of an archive that arrives in chunks of any size.

    ``data()`` gives the current entry's data; what is not asked for is skipped. After the iteration
    ``drain()`` reads the rest, so that whoever hashes the stream has seen all of it.

    Raises: TarError while iterating.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._view = memoryview(b"")
        self._at = 0
        self._left = 0  # data of the current entry not read yet
        self._padding = 0  # after it
        self._entry: Entry | None = None

    # -- bytes

    def _refill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._view = memoryview(chunk)
                self._at = 0
                return True
        return False

    def _take(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises: TarError when the stream ends before."""
        end = self._at + count
        if end <= len(self._view):
            taken = bytes(self._view[self._at : end])
            self._at = end
            return taken
        parts = [self._view[self._at :]]
        missing = count - len(parts[0])
        self._at = len(self._view)
        while missing:
            if not self._refill():
                raise TarError("unexpected end of the archive")
            part = self._view[:missing]
            self._at = len(part)
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            have = len(self._view) - self._at
            if have >= count:
                self._at += count
                return
            count -= have
            self._at = len(self._view)
            if not self._refill():
                raise TarError("unexpected end of the archive")

    def _block(self) -> bytes | None:
        """The next block; None at a clean end of the stream."""
        if self._at == len(self._view) and not self._refill():
            return None
        return self._take(BLOCK)

    # -- entries

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry; None after the last one."""
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        pax: dict[str, bytes] | None = None
        long_name = long_link = None
        while True:
            header = self._block()
            if header is None:
                if pax is not None or long_name is not None or long_link is not None:
                    raise TarError("unexpected end of the archive")
                return None
            if header == _ZERO:
                second = self._block()
                if second is None or second == _ZERO:
                    return None
                raise TarError("a header is broken: data after an end-of-archive mark")
            kind = header[156:157]
            check_sum(header)
            if kind in _PLAIN or kind in _WITHOUT_DATA or kind == b"S":
                return self._member(header, kind, pax, long_name, long_link)
            size = number(header[124:136], "size")
            if kind == b"x" or kind == b"L" or kind == b"K":
                if not 0 <= size <= EXTENSION_MAX_BYTES:
                    raise TarError(f"an extended header of {size} bytes is too long")
                data = self._take(size)
                self._skip(-size % BLOCK)
                if kind == b"x":
                    pax = parse_pax(data)
                elif kind == b"L":
                    long_name = data.split(b"\0", 1)[0]
                else:
                    long_link = data.split(b"\0", 1)[0]
            elif kind == b"g" or kind == b"V":
                # Global headers and volume labels say nothing that a layer needs; Docker skips them too.
                if not 0 <= size <= EXTENSION_MAX_BYTES:
                    raise TarError(f"an extended header of {size} bytes is too long")
                self._skip(size + -size % BLOCK)
            else:
                raise TarError(f"unknown kind of entry {kind!r} for {header[:100].rstrip(bytes(1))!r}")

    def _member(
        self,
        header: bytes,
        kind: bytes,
        pax: dict[str, bytes] | None,
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        entry = Entry()
        name = header[:100].split(b"\0", 1)[0]
        # "ustar\0" is POSIX and has a prefix field; GNU writes "ustar " and keeps other things there.
        if header[257:263] == b"ustar\0" and header[345]:
            name = header[345:500].split(b"\0", 1)[0] + b"/" + name
        entry.name = name if long_name is None else long_name
        entry.link = header[157:257].split(b"\0", 1)[0] if long_link is None else long_link
        entry.mode = number(header[100:108], "mode") & 0o7777
        entry.uid = number(header[108:116], "uid")
        entry.gid = number(header[116:124], "gid")
        size = number(header[124:136], "size")
        entry.mtime_ns = number(header[136:148], "mtime") * NS
        entry.major = entry.minor = 0
        entry.xattrs = None
        entry.sparse = None
        if kind in (CHAR, BLOCKDEV):
            entry.major = number(header[329:337], "device")
            entry.minor = number(header[337:345], "device")
        if pax:
            size = self._apply_pax(entry, pax, size)
        if kind in _PLAIN:
            kind = DIRECTORY if entry.name.endswith(b"/") else FILE
        if kind in _WITHOUT_DATA:
            # Some writers give a size to links and directories; there is no data behind it.
            size = 0
        if not 0 <= size <= ENTRY_MAX_BYTES:
            raise TarError(f"entry {entry.name!r} claims {size} bytes")
        if not 0 <= entry.uid <= 0xFFFFFFFE or not 0 <= entry.gid <= 0xFFFFFFFE:
            raise TarError(f"entry {entry.name!r} has an owner that cannot be ({entry.uid}:{entry.gid})")
        if not entry.name:
            raise TarError("an entry has no name")
        entry.kind = kind
        entry.size = entry.stored = size
        self._left = size
        self._padding = -size % BLOCK
        if kind == b"S":
            entry.kind = FILE
            self._old_sparse(entry, header)
        elif pax and ("GNU.sparse.major" in pax or "GNU.sparse.map" in pax):
            self._pax_sparse(entry, pax)
        self._entry = entry
        return entry

    def _apply_pax(self, entry: Entry, pax: dict[str, bytes], size: int) -> int:
        for key, value in pax.items():
            if key == "path":
                entry.name = value
            elif key == "linkpath":
                entry.link = value
            elif key == "size":
                size = decimal(value, key)
            elif key == "uid":
                entry.uid = decimal(value, key)
            elif key == "gid":
                entry.gid = decimal(value, key)
            elif key == "mtime":
                entry.mtime_ns = parse_time_ns(value)
            elif key.startswith("SCHILY.xattr."):
                if entry.xattrs is None:
                    entry.xattrs = {}
                elif len(entry.xattrs) >= XATTRS_MAX:
                    raise TarError(f"entry {entry.name!r} has more than {XATTRS_MAX} extended attributes")
                entry.xattrs[key[13:]] = value
        return size

    # -- sparse files

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        entry.size = number(header[483:495], "real size")
        pieces: list[tuple[int, int]] = []
        sparse_numbers(header[386:482], pieces)
        more = header[482]
        while more:
            block = self._take(BLOCK)
            sparse_numbers(block[:504], pieces)
            more = block[504]
            if len(pieces) > SPARSE_MAX_PIECES:
                raise TarError(f"entry {entry.name!r} has more than {SPARSE_MAX_PIECES} pieces")
        _check_sparse(entry, pieces)

    def _pax_sparse(self, entry: Entry, pax: dict[str, bytes]) -> None:
        real = pax.get("GNU.sparse.realsize", pax.get("GNU.sparse.size"))
        if real is None:
            raise TarError(f"sparse entry {entry.name!r} does not say its size")
        entry.size = decimal(real, "GNU.sparse.realsize")
        entry.name = pax.get("GNU.sparse.name", entry.name)
        if pax.get("GNU.sparse.major") == b"1":
            numbers = self._sparse_map(entry)
        else:
            text = pax.get("GNU.sparse.map", b"")
            numbers = [decimal(part, "GNU.sparse.map") for part in text.split(b",")] if text else []
        if len(numbers) % 2 or len(numbers) // 2 > SPARSE_MAX_PIECES:
            raise TarError(f"sparse entry {entry.name!r} has a broken map")
        _check_sparse(entry, list(zip(numbers[::2], numbers[1::2], strict=True)))

    def _sparse_map(self, entry: Entry) -> list[int]:
        """PAX 1.0: decimal lines in front of the data, padded to a block."""
        text = bytearray()
        lines = 0
        wanted = 1
        while lines < wanted:
            if self._left < BLOCK:
                raise TarError(f"sparse entry {entry.name!r} has a broken map")
            block = self._take(BLOCK)
            self._left -= BLOCK
            entry.stored -= BLOCK
            text += block
            lines += block.count(b"\n")
            if wanted == 1 and lines:
                pieces = decimal(bytes(text[: text.index(b"\n")]), "sparse map")
                if not 0 <= pieces <= SPARSE_MAX_PIECES:
                    raise TarError(f"entry {entry.name!r} has more than {SPARSE_MAX_PIECES} pieces")
                wanted = 1 + 2 * pieces
            elif not lines:
                raise TarError(f"sparse entry {entry.name!r} has a broken map")
        return [decimal(line, "sparse map") for line in bytes(text).split(b"\n")[1:wanted]]

    # -- data

    def data(self) -> Iterator[memoryview]:
        """The stored data of the current entry, in pieces as they come."""
        while self._left:
            if self._at == len(self._view) and not self._refill():
                raise TarError("unexpected end of the archive")
            piece = self._view[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            yield piece

    def small(self) -> memoryview | None:
        """All data of the current entry when it lies in one chunk; None when it does not."""
        end = self._at + self._left
        if end > len(self._view):
            return None
        piece = self._view[self._at : end]
        self._at = end
        self._left = 0
        return piece

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """The data of the current entry as (offset in the file, bytes); holes are left out."""
        entry = self._entry
        if entry is None or entry.sparse is None:
            offset = 0
            for piece in self.data():
                yield offset, piece
                offset += len(piece)
            return
        ranges = iter(entry.sparse)
        offset, room = next(ranges, (0, 0))
        for piece in self.data():
            while len(piece):
                while not room:
                    offset, room = next(ranges)  # _check_sparse: the ranges cover the stored data
                part = piece[:room]
                yield offset, part
                offset += len(part)
                room -= len(part)
                piece = piece[len(part) :]

    def drain(self) -> None:
        """Read the stream to its end."""
        self._at = len(self._view)
        for _ in self._chunks:
            pass


def _check_sparse(entry: Entry, pieces: list[tuple[int, int]]) -> None:
    end = 0
    stored = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise TarError(f"sparse entry {entry.name!r} has a broken map")
        end = offset + length
        stored += length
    if end > entry.size or stored != entry.stored or not 0 <= entry.size <= ENTRY_MAX_BYTES:
        raise TarError(f"sparse entry {entry.name!r} has a broken map")
    entry.sparse = [piece for piece in pieces if piece[1]]
