"""Verbs over a container's file system: cp, diff, export."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from webdock.cli.archives import CHUNK_BYTES, write_archive
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, segment

KINDS = {0: "C", 1: "A", 2: "D"}


def diff_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")


def diff(options: argparse.Namespace) -> int:
    """One line for each path: C changed, A added, D deleted."""
    for change in connect(options).get(f"/containers/{segment(options.container)}/changes") or ():
        print(KINDS.get(change["Kind"], "?"), change["Path"])
    return 0


def export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="standard output without it")
    parser.add_argument("container", metavar="CONTAINER")


def export(options: argparse.Namespace) -> int:
    with connect(options).open("GET", f"/containers/{segment(options.container)}/export") as response:
        write_archive(response, options.output)
    return 0


# -- cp ----------------------------------------------------------------------------------------------------


def cp_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--archive", action="store_true", help="keep owners")
    parser.add_argument("-L", "--follow-link", action="store_true", help="follow a link named as the source")
    parser.add_argument("-q", "--quiet", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("source", metavar="[CONTAINER:]SOURCE", help="- for an archive on standard input")
    parser.add_argument("target", metavar="[CONTAINER:]TARGET", help="- for an archive on standard output")


def cp(options: argparse.Namespace) -> int:
    """Copy to or from a container; what exists at the target decides, as with ``cp -r``."""
    client = connect(options)
    source_container, source = split_place(options.source)
    target_container, target = split_place(options.target)
    if bool(source_container) == bool(target_container):
        raise Failure("one side of cp is in a container: write CONTAINER:PATH on exactly one side", 125)
    if source_container:
        copy_out(client, source_container, source, target, owners=options.archive, follow=options.follow_link)
    else:
        copy_in(client, source, target_container, target, owners=options.archive, follow=options.follow_link)
    return 0


def split_place(text: str) -> tuple[str, str]:
    """``web:/etc/hosts`` -> ("web", "/etc/hosts"); a path of this machine -> ("", path)."""
    if text == "-" or text.startswith((".", "/")):
        return "", text
    name, colon, path = text.partition(":")
    return (name, path or "/") if colon else ("", text)


def stat_in(client: Client, container: str, path: str) -> dict[str, Any] | None:
    """What is at a path in a container, None when nothing is.

    Spec: Docker API 1.47, ContainerArchiveInfo: base64 JSON in X-Docker-Container-Path-Stat; mode as Go has
    it.
    """
    try:
        with client.open("HEAD", f"/containers/{segment(container)}/archive", {"path": path}) as response:
            header = response.headers.get("X-Docker-Container-Path-Stat", "")
    except Refused as error:
        if error.status == 404:
            client.get(
                f"/containers/{segment(container)}/json"
            )  # a HEAD has no body: let this say what is missing
            return None
        raise
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return found


GO_DIRECTORY = 1 << 31


def is_directory(about: dict[str, Any] | None) -> bool:
    return bool(about and about["mode"] & GO_DIRECTORY)


# -- out of a container ------------------------------------------------------------------------------------


def copy_out(client: Client, container: str, source: str, target: str, *, owners: bool, follow: bool) -> None:
    about = stat_in(client, container, source)
    if about is None:
        raise Failure(f"there is no {source} in {container}")
    if follow and about.get("linkTarget"):
        source = about["linkTarget"]
        about = stat_in(client, container, source)
    query = {"path": source}
    with client.open("GET", f"/containers/{segment(container)}/archive", query) as response:
        if target == "-":
            write_archive(response, None)
            return
        whole = source.rstrip("/").endswith("/.") or source == "."
        name = os.path.basename(os.path.normpath(source)) or "/"
        into, rename = local_target(target, name, directory=is_directory(about), contents=whole)
        unpack(response, into, rename, owners=owners)


def local_target(target: str, name: str, *, directory: bool, contents: bool) -> tuple[str, str]:
    """Which directory the archive goes into, and what its top entry is called there.

    Raises:
        Failure: when a directory would have to become a file, or the place is not there.
    """
    if os.path.isdir(target):
        return target, "" if contents else name
    if os.path.lexists(target):
        if directory:
            raise Failure(f"{target} is a file, and {name} is a directory")
        return os.path.dirname(target) or ".", os.path.basename(target)
    if target.endswith("/") and not directory:
        raise Failure(f"there is no directory {target}")
    parent = os.path.dirname(target.rstrip("/")) or "."
    if not os.path.isdir(parent):
        raise Failure(f"there is no directory {parent}")
    return parent, os.path.basename(target.rstrip("/"))


def unpack(source: Any, into: str, top: str, *, owners: bool) -> None:
    """Extract an engine's archive below ``into``; nothing in it can lead out, whatever it says.

    ``top`` replaces the name of its top entry; with "" its content comes right into ``into``. Without
    ``owners`` files belong to whoever copies, and setuid bits are dropped.
    """
    late: list[tuple[str, tarfile.TarInfo]] = []  # directories get their modes when they are full
    with told_when_cut(), tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES) as archive:
        for member in archive:
            parts = parts_below(member.name, top)
            if not parts:
                continue
            path = safe_path(into, parts)
            try:
                if member.isdir():
                    if not os.path.isdir(path) or os.path.islink(path):
                        os.mkdir(path, 0o700)
                    late.append((path, member))
                    continue
                if member.isreg():
                    content = archive.extractfile(member)
                    assert content is not None
                    write_whole(path, content, partial(dress, member=member, owners=owners))
                    continue
                if os.path.lexists(path):
                    os.unlink(path)
                if member.islnk():
                    os.link(safe_path(into, parts_below(member.linkname, top)), path, follow_symlinks=False)
                elif member.issym():
                    os.symlink(member.linkname, path)
                else:
                    sys.stderr.write(f"webdock: {path} is left out: it is a device or a pipe\n")
                    continue
                dress(path, member, owners)
            except OSError as error:
                raise Failure(f"{path} cannot be written: {error.strerror}") from None
    for path, member in reversed(late):
        dress(path, member, owners)


@contextmanager
def told_when_cut() -> Iterator[None]:
    """An archive that ends too soon is one plain line. Raises: Failure."""
    try:
        yield
    except tarfile.TarError as error:
        raise Failure(f"the archive broke off or is none: {error}") from None


def write_whole(path: str, content: IO[bytes], finish: Callable[[str], None]) -> None:
    """Write a file beside its place and rename it: what was there stays until all of the new one is."""
    fd, draft = tempfile.mkstemp(prefix=".webdock-", suffix=".part", dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(fd, "wb") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
        finish(draft)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def parts_below(name: str, top: str) -> list[str]:
    """An entry's path with ``top`` in place of its first component.

    Raises:
        Failure: for ``..``, which no honest archive has.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")][1:]
    if ".." in parts:
        raise Failure(f"the archive names {name!r}, which leads out of it; nothing more is written")
    return [top, *parts] if top else parts


def safe_path(into: str, parts: Sequence[str]) -> str:
    """Where an entry goes; every directory on the way must be one, not a link that the archive put there."""
    path = into
    for part in parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path) or not os.path.isdir(path):
            raise Failure(f"{path} is no directory, and the archive wants to write below it")
    return os.path.join(path, parts[-1])


def dress(path: str, member: tarfile.TarInfo, owners: bool) -> None:
    """Give a path its owner, mode and time."""
    if owners:
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, member.mode & (0o7777 if owners else 0o777))
        os.utime(path, (member.mtime, member.mtime))


# -- into a container --------------------------------------------------------------------------------------


def copy_in(client: Client, source: str, container: str, target: str, *, owners: bool, follow: bool) -> None:
    about = stat_in(client, container, target)
    if source == "-":
        if not is_directory(about):
            raise Failure(f"{target} is no directory in {container}")
        data = iter(lambda: sys.stdin.buffer.read(CHUNK_BYTES), b"")
        put(client, container, target, data, owners)
        return
    real = os.path.realpath(source) if follow else source
    try:
        directory = stat.S_ISDIR(os.lstat(real.rstrip("/") or "/").st_mode) or (
            source.endswith("/") and os.path.isdir(real)
        )
    except OSError as error:
        raise Failure(f"{source} cannot be read: {error.strerror}") from None
    contents = directory and (source.rstrip("/").endswith("/.") or source == ".")
    if is_directory(about):
        into, name = target, "." if contents else os.path.basename(os.path.abspath(source))
    elif about is not None:
        if directory:
            raise Failure(f"{target} in {container} is a file, and {source} is a directory")
        into, name = os.path.dirname(target) or "/", os.path.basename(target)
    else:
        if target.endswith("/") and not directory:
            raise Failure(f"there is no directory {target} in {container}")
        into, name = os.path.dirname(target.rstrip("/")) or "/", os.path.basename(target.rstrip("/"))
    put(client, container, into, pack(real, name), owners)


def put(client: Client, container: str, into: str, data: Iterator[bytes], owners: bool) -> None:
    query = {"path": into, "noOverwriteDirNonDir": True, "copyUIDGID": owners}
    client.open("PUT", f"/containers/{segment(container)}/archive", query, data).close()


def pack(path: str, name: str) -> Iterator[bytes]:
    """A tar stream of a file or directory, made while it is read; the top entry is called ``name``."""
    reader, writer = os.pipe()
    problem: list[OSError | tarfile.TarError] = []

    def write() -> None:
        try:
            with (
                os.fdopen(writer, "wb") as pipe,
                tarfile.open(fileobj=pipe, mode="w|", bufsize=CHUNK_BYTES) as archive,
            ):
                archive.add(path, name)
        except BrokenPipeError:
            pass  # the engine has seen enough and says why
        except (OSError, tarfile.TarError) as error:
            problem.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with open(reader, "rb", buffering=0) as pipe:
        while data := pipe.read(CHUNK_BYTES):
            yield data
    thread.join()
    if problem:
        raise Failure(f"{path} cannot be read: {problem[0]}")
