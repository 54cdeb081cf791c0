"""Verbs over the files of volumes: export, import, clone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress

from webdock.cli.archives import read_archive, write_archive
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, segment
from webdock.cli.pairs import pairs


def volume_export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="standard output without it")
    parser.add_argument(
        "--path", default="/", metavar="PATH", help="a file or directory in it, not all of it"
    )
    parser.add_argument("volume", metavar="VOLUME")


def volume_export(options: argparse.Namespace) -> int:
    """Write a tar with the files, their owners, modes and links; containers may go on using the volume."""
    path = f"/volumes/{segment(options.volume)}/archive"
    with connect(options).open("GET", path, {"path": options.path}) as response:
        write_archive(response, options.output)
    return 0


def volume_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", default="/", metavar="PATH", help="a directory in it")
    parser.add_argument("volume", metavar="VOLUME", help="made when it is missing")
    parser.add_argument("file", metavar="FILE|-", help="a tar, also one packed by gzip, bzip2, xz or zstd")


def volume_import(options: argparse.Namespace) -> int:
    """Unpack a tar into a volume; what is there and not in the tar stays.

    A volume that was made for it is removed when it fails.
    """
    client = connect(options)
    data = read_archive(options.file)
    first = next(data, b"")  # a file that cannot be read makes no volume

    def whole() -> Iterator[bytes]:
        yield first
        yield from data

    made = not exists(client, options.volume)
    client.post("/volumes/create", None, {"Name": options.volume})
    path = f"/volumes/{segment(options.volume)}/archive"
    try:
        client.open("PUT", path, {"path": options.path, "noOverwriteDirNonDir": True}, whole()).close()
    except BaseException:
        if made:  # half a volume would be taken for a whole one
            with suppress(Failure):
                client.delete(f"/volumes/{segment(options.volume)}")
        raise
    return 0


def exists(client: Client, volume: str) -> bool:
    try:
        client.get(f"/volumes/{segment(volume)}")
    except Refused as error:
        if error.status != 404:
            raise
        return False
    return True


def volume_clone_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument("name", metavar="NEW")


def volume_clone(options: argparse.Namespace) -> int:
    """Make a new volume with the same files, and print its name."""
    body = {"Name": options.name, "Labels": pairs(options.label, [], "--label")}
    print(connect(options).post(f"/volumes/{segment(options.volume)}/clone", None, body)["Name"])
    return 0
