"""The two images every machine can make for itself: webdock/hello and webdock/busybox.

Made of the distribution's static busybox and of a program of a few hundred bytes written here; the same
busybox gives the same images, byte for byte. ``python -m runtime.images.starter`` writes both to its
standard output as an archive for ``load``.

Spec: System V ABI, ELF-64 (Ehdr, Phdr); Linux system calls of x86_64 and aarch64.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.api.errors import NotFound
from runtime.images import layout
from runtime.images import platform as platforms
from runtime.images import reference as references
from runtime.images.content import Descriptor, digest_of
from runtime.images.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, make_manifest
from runtime.images.tarwriter import END, header, padding
from runtime.images.times import rfc3339

HELLO = "webdock/hello:latest"
BUSYBOX = "webdock/busybox:latest"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
APPLETS_TIMEOUT_S = 10

GREETING = """
Hello from webdock!

You asked for a container, and this is its voice. The engine took the image
webdock/hello, gave it a file system, a network and limits of its own, and
started the one program inside: this greeting. Everything works.

A shell to look around in:
    webdock run -it --rm webdock/busybox

"""

_USERS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUPS = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
tty:x:5:
mail:x:8:
www-data:x:33:
nobody:x:65534:
"""
_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sbin": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/spool": 0o755,
    "var/spool/mail": 0o755,
    "var/www": 0o755,
}

_BASE_ADDRESS = 0x400000
_EHDR_BYTES, _PHDR_BYTES = 64, 56
_MACHINES = {"amd64": 62, "arm64": 183}  # ELF e_machine


def hello_program(architecture: str, text: bytes) -> bytes | None:
    """A static program that writes ``text`` and exits with 0; None for an architecture we cannot write."""
    if architecture not in _MACHINES:
        return None
    code = _code(architecture, len(text), 0)
    code = _code(architecture, len(text), len(code))
    start = _EHDR_BYTES + 2 * _PHDR_BYTES
    size = start + len(code) + len(text)
    ehdr = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",  # 64 bit, little endian, version 1
        2,  # an executable
        _MACHINES[architecture],
        1,
        _BASE_ADDRESS + start,
        _EHDR_BYTES,
        0,
        0,
        _EHDR_BYTES,
        _PHDR_BYTES,
        2,
        0,
        0,
        0,
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE_ADDRESS, _BASE_ADDRESS, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK: not executable
    return ehdr + load + stack + code + text


def _code(architecture: str, length: int, text_at: int) -> bytes:
    """write(1, text, length); exit(0). ``text_at`` is where the text starts, from the first instruction."""
    if architecture == "amd64":
        return b"".join(
            (
                b"\xb8\x01\x00\x00\x00",  # mov eax, 1 (write)
                b"\xbf\x01\x00\x00\x00",  # mov edi, 1
                b"\x48\x8d\x35" + struct.pack("<i", text_at - 17),  # lea rsi, [rip + text]
                b"\xba" + struct.pack("<I", length),  # mov edx, length
                b"\x0f\x05",  # syscall
                b"\xb8\x3c\x00\x00\x00",  # mov eax, 60 (exit)
                b"\x31\xff",  # xor edi, edi
                b"\x0f\x05",
            )
        )
    distance = text_at - 4
    words = (
        0xD2800020,  # mov x0, #1
        0x10000001 | (distance & 3) << 29 | ((distance >> 2) & 0x7FFFF) << 5,  # adr x1, text
        0xD2800002 | (length & 0xFFFF) << 5,  # mov x2, #length
        0xD2800808,  # mov x8, #64 (write)
        0xD4000001,  # svc #0
        0xD2800000,  # mov x0, #0
        0xD2800BA8,  # mov x8, #93 (exit)
        0xD4000001,
    )
    return struct.pack(f"<{len(words)}I", *words)


def is_static(program: bytes) -> bool:
    """Whether an ELF program needs no loader and no libraries."""
    if program[:6] not in (b"\x7fELF\x02\x01", b"\x7fELF\x01\x01"):
        return False
    if program[4] == 1:
        table, entry_bytes, entries = struct.unpack_from("<28xI10xHH", program)
    else:
        table, entry_bytes, entries = struct.unpack_from("<32xQ14xHH", program)
    kinds = [struct.unpack_from("<I", program, table + at * entry_bytes)[0] for at in range(entries)]
    return 3 not in kinds  # PT_INTERP


def starter_archive(busybox: Path | None = None) -> Iterator[bytes]:
    """Both images as an archive, in pieces. Raises: NotFound without a static busybox."""
    path = busybox or _find_busybox()
    program = path.read_bytes()
    if not is_static(program):
        raise NotFound(f"{path} is not static; the package busybox-static has one that is")
    made_s = int(path.stat().st_mtime)
    blobs: dict[str, bytes] = {}
    images = [
        _image(HELLO, *_hello(program), made_s, blobs),
        _image(BUSYBOX, _busybox(path, program), {"Cmd": ["sh"]}, made_s, blobs),
    ]
    members = layout.documents(images)
    members += [(layout.blob_name(digest_of(blob)), blob) for blob in blobs.values()]
    for name, data in members:
        yield header(name.encode(), size=len(data))
        yield data
        yield padding(len(data))
    yield END


def build_starter_archive(path: Path) -> None:
    """Write the archive to a file. Raises: NotFound, OSError."""
    with open(path, "wb") as file:
        file.writelines(starter_archive())


def _find_busybox() -> Path:
    for candidate in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox") or ""):
        if candidate and os.path.exists(candidate):
            return Path(candidate)
    raise NotFound("there is no busybox on this machine; the package busybox-static has it")


def _hello(busybox: bytes) -> tuple[bytes, dict[str, Any]]:
    program = hello_program(platforms.host().architecture, GREETING.encode())
    if program is not None:
        return _layer({"hello": (program, 0o755)}), {"Cmd": ["/hello"]}
    # An architecture whose instructions are not written down here: busybox says it.
    return _layer({"hello": (busybox, 0o755)}), {"Entrypoint": ["/hello", "echo"], "Cmd": [GREETING]}


def _busybox(path: Path, program: bytes) -> bytes:
    listed = subprocess.run(
        [path, "--list"], capture_output=True, check=True, text=True, timeout=APPLETS_TIMEOUT_S
    )
    applets = sorted({name for name in listed.stdout.split() if name != "busybox" and "/" not in name})
    files = {
        "bin/busybox": (program, 0o755),
        "etc/group": (_GROUPS.encode(), 0o644),
        "etc/passwd": (_USERS.encode(), 0o644),
    }
    return _layer(files, {f"bin/{applet}": "busybox" for applet in applets}, _DIRECTORIES)


def _layer(
    files: dict[str, tuple[bytes, int]],
    links: dict[str, str] | None = None,
    directories: dict[str, int] | None = None,
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode in (directories or {}).items():
            archive.addfile(_member(name, tarfile.DIRTYPE, mode))
        for name, (data, mode) in files.items():
            info = _member(name, tarfile.REGTYPE, mode)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = _member(name, tarfile.SYMTYPE, 0o777)
            info.linkname = target
            archive.addfile(info)
    return buffer.getvalue()


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _image(
    name: str, layer: bytes, command: dict[str, Any], made_s: int, blobs: dict[str, bytes]
) -> layout.Saved:
    platform = platforms.host()
    described = Descriptor(OCI_LAYER, digest_of(layer), len(layer))
    created = rfc3339(made_s)
    config = json.dumps(
        {
            "created": created,
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
            "config": {"Env": [PATH], **command},
            "rootfs": {"type": "layers", "diff_ids": [described.digest]},
            "history": [{"created": created, "created_by": f"webdock starter {name}"}],
        },
        separators=(",", ":"),
    ).encode()
    manifest = make_manifest(Descriptor(OCI_CONFIG, digest_of(config), len(config)), [described])
    for blob in (layer, config, manifest):
        blobs[digest_of(blob)] = blob
    return layout.Saved(
        Descriptor(OCI_MANIFEST, digest_of(manifest), len(manifest)),
        digest_of(config),
        (described.digest,),
        (references.parse(name),),
    )


def main() -> int:
    """Write the archive to the standard output."""
    try:
        for piece in starter_archive():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except (NotFound, OSError, subprocess.SubprocessError) as error:
        print(f"webdock: the starter images cannot be made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
