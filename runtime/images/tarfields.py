"""The fields of tar headers: numbers, checksums, PAX records, times; pure.

Spec: POSIX.1-2001 pax, GNU tar "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

NS = 1_000_000_000


class TarError(Exception):
    """The stream is not a tar archive, or claims what cannot be."""


def check_sum(header: bytes) -> None:
    """Raises: TarError unless the header's checksum is right, signed or unsigned."""
    stored = number(header[148:156], "checksum")
    plain = sum(header) - sum(header[148:156]) + 256
    if stored != plain:
        signed = plain - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
        if stored != signed:
            raise TarError("a header is broken: its checksum is wrong")


def number(field: bytes, what: str) -> int:
    """A numeric header field: octal digits, or base-256 when the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        return value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    try:
        if digits[0] in b"+-" or b"_" in digits:
            raise ValueError
        return int(digits, 8)
    except ValueError:
        raise TarError(f"a header is broken: {what} is {field!r}") from None


def parse_pax(data: bytes) -> dict[str, bytes]:
    """The records of a PAX header, ``length key=value\\n`` each; later ones win, empty values delete.

    Sparse 0.0 repeats its keys; they are gathered into one ``GNU.sparse.map``.
    """
    records: dict[str, bytes] = {}
    sparse: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        if space < 0 or not data[at:space].isdigit():
            if not data[at:].strip(b"\0"):
                break
            raise TarError("an extended header is broken")
        end = at + int(data[at:space])
        equals = data.find(b"=", space + 1, end)
        if end > len(data) or equals < 0 or data[end - 1 : end] != b"\n" or end <= space:
            raise TarError("an extended header is broken")
        try:
            key = data[space + 1 : equals].decode()
        except UnicodeDecodeError:
            raise TarError("an extended header is broken") from None
        value = data[equals + 1 : end - 1]
        at = end
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            if (key == "GNU.sparse.offset") != (len(sparse) % 2 == 0):
                raise TarError("an extended header is broken")
            sparse.append(value)
        elif key.startswith("SCHILY.xattr."):
            records[key] = value
        elif b"\0" in value:
            raise TarError("an extended header is broken")
        elif value:
            records[key] = value
        else:
            records.pop(key, None)
    if sparse:
        records["GNU.sparse.map"] = b",".join(sparse)
    return records


def parse_time_ns(value: bytes) -> int:
    """Nanoseconds of a PAX time: decimal seconds with any number of decimals, perhaps negative."""
    whole, _, fraction = value.partition(b".")
    seconds = decimal(whole, "mtime") if whole not in (b"", b"-") else 0
    if fraction and not fraction.isdigit():
        raise TarError(f"a header is broken: mtime is {value!r}")
    part = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    return seconds * NS + (-part if value.startswith(b"-") else part)


def decimal(value: bytes, what: str) -> int:
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20:
        raise TarError(f"a header is broken: {what} is {value[:64]!r}")
    return int(value)


def sparse_numbers(field: bytes, pieces: list[tuple[int, int]]) -> None:
    for at in range(0, len(field) - 23, 24):
        if not field[at]:
            break
        pieces.append((number(field[at : at + 12], "sparse"), number(field[at + 12 : at + 24], "sparse")))
