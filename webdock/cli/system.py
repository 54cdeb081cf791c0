"""Verbs about the engine and about any object: version, info, inspect."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from webdock.cli import output
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.http import Refused, image_segment, segment

# -- version and info --------------------------------------------------------------------------------------


def version_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser, "-f")


def version(options: argparse.Namespace) -> int:
    """Both versions; the client's is printed even when the engine does not answer."""
    from webdock import __version__

    client = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": "linux",
        "Arch": platform.machine(),
    }
    try:
        server = connect(options).get("/version")
    except Failure as error:
        if options.format:
            raise
        print_version("Client", client, ("Version", "Python"))
        raise Failure(str(error)) from None
    if options.format:
        print_formatted({"Client": client, "Server": server}, options.format)
        return 0
    print_version("Client", client, ("Version", "Python"))
    print_version("Engine", server, ("Version", "ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion"))
    for component in server.get("Components") or ():
        print(f"  {component['Name']}: {component['Version']}")
    return 0


def print_version(title: str, values: dict[str, Any], names: Sequence[str]) -> None:
    print(f"{title}:")
    for name in names:
        if name in values:
            print(f"  {name + ':':<16}{values[name]}")


def info_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser, "-f")


INFO_LINES = (
    ("Name", "Name"),
    ("Version", "ServerVersion"),
    ("Id", "ID"),
    ("Containers", "Containers"),
    ("  running", "ContainersRunning"),
    ("  paused", "ContainersPaused"),
    ("  stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Storage driver", "Driver"),
    ("Root directory", "DockerRootDir"),
    ("Logging driver", "LoggingDriver"),
    ("Cgroup driver", "CgroupDriver"),
    ("Cgroup version", "CgroupVersion"),
    ("Runtime", "DefaultRuntime"),
    ("Security options", "SecurityOptions"),
    ("Kernel", "KernelVersion"),
    ("Operating system", "OperatingSystem"),
    ("Architecture", "Architecture"),
    ("Processors", "NCPU"),
    ("Memory", "MemTotal"),
)


def info(options: argparse.Namespace) -> int:
    about = connect(options).get("/info")
    if options.format:
        print_formatted(about, options.format)
        return 0
    for title, key in INFO_LINES:
        value = about.get(key)
        if value is None:
            continue
        if key == "MemTotal":
            value = output.binary_size(value)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{title}: {output.one_line(value)}")
    for warning in about.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    return 0


def print_formatted(document: Any, form: str) -> None:
    if form == "json":
        print(json.dumps(document, ensure_ascii=False))
        return
    from webdock.cli.template import parse, render

    print(render(parse(form), document, strict=True))


# -- inspect -----------------------------------------------------------------------------------------------


def inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--format", metavar="FORM", help='"json" or a Go template like {{.State.Status}}'
    )
    parser.add_argument("-s", "--size", action="store_true", help="with the sizes of containers")
    parser.add_argument(
        "--type", choices=["container", "image", "network", "volume"], help="only look among these"
    )
    parser.add_argument("names", nargs="+", metavar="NAME|ID")


def inspect(options: argparse.Namespace) -> int:
    """Everything the engine knows about each name, looked up as container, image, network, volume."""
    client = connect(options)

    def look_up(name: str) -> Any:
        paths = {
            "container": f"/containers/{segment(name)}/json",
            "image": f"/images/{image_segment(name)}/json",
            "network": f"/networks/{segment(name)}",
            "volume": f"/volumes/{segment(name)}",
        }
        if options.type:
            query = {"size": options.size} if options.type == "container" else None
            return client.get(paths[options.type], query)
        for kind, path in paths.items():
            try:
                return client.get(path, {"size": options.size} if kind == "container" else None)
            except Refused as error:
                if error.status != 404:
                    raise
        raise Refused(404, f"No such object: {name}")

    return show_documents(options.names, look_up, options.format)


def show_documents(names: Sequence[str], look_up: Callable[[str], Any], form: str | None) -> int:
    """Print what was found as one JSON list, or each by a template; say which were not found."""
    found, problems = [], []
    for name in names:
        try:
            found.append(look_up(name))
        except Refused as error:
            problems.append(str(error))
    if form:
        for document in found:
            print_formatted(document, form)
    else:
        print(json.dumps(found, indent=4, ensure_ascii=False))
    sys.stdout.flush()
    for problem in problems:
        sys.stderr.write(f"webdock: {problem}\n")
    return 1 if problems else 0
