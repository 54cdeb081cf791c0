"""Verbs about the engine and about any object: version, info, df, prune, inspect."""

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
from webdock.cli.http import Client, Refused, image_segment, segment

# -- version and info --------------------------------------------------------------------------------------


def version_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser)


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
    output.format_option(parser)


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


# -- disk --------------------------------------------------------------------------------------------------

DF_COLUMNS = (
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
)


def df_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser)


def df(options: argparse.Namespace) -> int:
    usage = connect(options).get("/system/df")
    images = usage.get("Images") or []
    containers = usage.get("Containers") or []
    volumes = usage.get("Volumes") or []
    free_images = sum(
        image.get("Size", 0) - max(0, image.get("SharedSize", 0)) for image in images if not in_use(image)
    )
    stopped = [container for container in containers if container.get("State") not in ("running", "paused")]
    unused = [volume for volume in volumes if not (volume.get("UsageData") or {}).get("RefCount")]
    rows = [
        df_row("Images", len(images), sum(map(in_use, images)), usage.get("LayersSize", 0), free_images),
        df_row(
            "Containers",
            len(containers),
            len(containers) - len(stopped),
            written(containers),
            written(stopped),
        ),
        df_row("Local Volumes", len(volumes), len(volumes) - len(unused), stored(volumes), stored(unused)),
    ]
    output.emit(DF_COLUMNS, rows, options.format)
    return 0


def in_use(image: dict[str, Any]) -> bool:
    return int(image.get("Containers") or 0) > 0


def written(containers: Sequence[dict[str, Any]]) -> int:
    return sum(container.get("SizeRw") or 0 for container in containers)


def stored(volumes: Sequence[dict[str, Any]]) -> int:
    return sum(max(0, (volume.get("UsageData") or {}).get("Size", 0)) for volume in volumes)


def df_row(kind: str, total: int, active: int, size_bytes: int, free_bytes: int) -> dict[str, str]:
    share = f" ({100 * free_bytes // size_bytes}%)" if size_bytes else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": output.size(size_bytes),
        "Reclaimable": output.size(free_bytes) + share,
    }


def confirm(text: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    sys.stderr.write(f"{text} Go on? [y/N] ")
    sys.stderr.flush()
    if not sys.stdin.isatty():
        sys.stderr.write("\nNobody is there to answer; give --force.\n")
        return False
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def container_prune_options(parser: argparse.ArgumentParser) -> None:
    from webdock.cli.resources import prune_options as shared

    shared(parser)


def container_prune(options: argparse.Namespace) -> int:
    if not options.force and not confirm("This removes every stopped container."):
        return 1
    answer = connect(options).post("/containers/prune", {"filters": output.filters(options.filter)})
    for name in answer.get("ContainersDeleted") or ():
        print(name)
    print(f"Total reclaimed space: {output.size(answer.get('SpaceReclaimed', 0))}")
    return 0


def image_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a", "--all", action="store_true", help="also those with a name, when no container uses them"
    )
    container_prune_options(parser)


def image_prune(options: argparse.Namespace) -> int:
    which = "every image that no container uses" if options.all else "every image without a name"
    if not options.force and not confirm(f"This removes {which}."):
        return 1
    print_pruned_images(connect(options), options)
    return 0


def print_pruned_images(client: Client, options: argparse.Namespace) -> int:
    from webdock.cli.images import print_removed

    chosen = output.filters(options.filter) or {}
    chosen["dangling"] = ["false" if options.all else "true"]
    answer = client.post("/images/prune", {"filters": chosen})
    print_removed(answer.get("ImagesDeleted"))
    freed = int(answer.get("SpaceReclaimed", 0))
    print(f"Total reclaimed space: {output.size(freed)}")
    return freed


def prune_options(parser: argparse.ArgumentParser) -> None:
    image_prune_options(parser)


def prune(options: argparse.Namespace) -> int:
    which = "images no container uses" if options.all else "images without a name"
    if not options.force and not confirm(f"This removes stopped containers, unused networks and {which}."):
        return 1
    client = connect(options)
    chosen = output.filters(options.filter)
    for path, key in (("/containers/prune", "ContainersDeleted"), ("/networks/prune", "NetworksDeleted")):
        for name in client.post(path, {"filters": chosen}).get(key) or ():
            print(name)
    print_pruned_images(client, options)
    return 0
