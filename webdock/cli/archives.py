"""Images as archives: save, load, import; and how archives go to files and standard output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from webdock.cli import progress
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.images import split_tag

CHUNK_BYTES = 256 * 1024


def save_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="standard output without it")
    parser.add_argument("images", nargs="+", metavar="IMAGE")


def save(options: argparse.Namespace) -> int:
    with connect(options).open("GET", "/images/get", {"names": options.images}) as response:
        write_archive(response, options.output)
    return 0


def write_archive(source: Any, path: str | None) -> None:
    """Copy an answer's body to a file, or to standard output when that is no terminal."""
    if path is None:
        if sys.stdout.isatty():
            raise Failure("an archive on the terminal would be of no use; give --output FILE or redirect")
        copy(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    draft = f"{path}.part"
    try:
        with open(draft, "wb") as file:
            copy(source, file)
        os.replace(draft, path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


def copy(source: Any, target: BinaryIO) -> None:
    while data := source.read(CHUNK_BYTES):
        target.write(data)


def read_archive(path: str) -> Iterator[bytes]:
    """The bytes of a file, ``-`` for standard input."""
    if path == "-":
        if sys.stdin.isatty():
            raise Failure("give a file, or an archive on standard input")
        yield from iter(lambda: sys.stdin.buffer.read(CHUNK_BYTES), b"")
        return
    try:
        with open(path, "rb") as file:
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None


def load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", metavar="FILE", default="-", help="standard input without it")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def load(options: argparse.Namespace) -> int:
    messages = connect(options).stream(
        "POST", "/images/load", {"quiet": options.quiet}, read_archive(options.input)
    )
    progress.show(messages, sys.stdout)
    return 0


def import__options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--change", action="append", default=[], metavar="LINE", help='like "CMD [\\"sh\\"]"'
    )
    parser.add_argument("-m", "--message", metavar="TEXT")
    parser.add_argument("--platform", metavar="OS/ARCH")
    parser.add_argument("file", metavar="FILE|-")
    parser.add_argument("name", nargs="?", metavar="NAME[:TAG]", default="")


def import_(options: argparse.Namespace) -> int:
    repository, tag_name = split_tag(options.name)
    query = {
        "fromSrc": "-",
        "repo": repository or None,
        "tag": tag_name or None,
        "message": options.message,
        "changes": options.change,
        "platform": options.platform,
    }
    messages = connect(options).stream("POST", "/images/create", query, read_archive(options.file))
    progress.show(messages, sys.stdout)
    return 0
