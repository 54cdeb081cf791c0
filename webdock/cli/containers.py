"""Verbs over existing containers: list, stop, restart, kill, pause, rm, rename, update, wait, port, top."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from webdock.cli import output
from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, find_host, segment

COMMAND_CHARS = 20  # of a command in a table

PS_COLUMNS = (
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
)
PS_HEADINGS = {
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "State": "STATE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
}


def connect(options: argparse.Namespace) -> Client:
    return Client(options.host or find_host(os.environ))


def names_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "containers", nargs="+", metavar="CONTAINER", help="name, id or the beginning of an id"
    )


def for_each(names: Sequence[str], act: Callable[[str], object]) -> int:
    """Do it to every name, print each that went well, say why for the others; 1 when any failed."""
    code = 0
    for name in names:
        try:
            act(name)
        except Refused as error:
            if error.status == 304:
                print(name)  # already as asked
                continue
            sys.stdout.flush()
            sys.stderr.write(f"webdock: {error}\n")
            code = 1
        else:
            print(name, flush=True)
    return code


# -- ps ----------------------------------------------------------------------------------------------------


def ps_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those that do not run")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")
    parser.add_argument("-n", "--last", type=int, default=-1, metavar="N", help="the N newest, in any state")
    parser.add_argument("-l", "--latest", action="store_true", help="the newest, in any state")
    parser.add_argument("-s", "--size", action="store_true", help="how much each has written")
    parser.add_argument("--no-trunc", action="store_true", help="shorten nothing")
    output.filter_option(parser, "status=exited or label=tier")
    output.format_option(parser)


def ps(options: argparse.Namespace) -> int:
    """List containers, newest first."""
    limit = 1 if options.latest else options.last
    query = {
        "all": options.all or limit > 0,
        "limit": limit if limit > 0 else None,
        "size": options.size or (options.format and ".Size" in options.format),
        "filters": output.filters(options.filter),
    }
    containers = connect(options).get("/containers/json", query)
    rows = [container_row(container, whole=options.no_trunc) for container in containers]
    if options.quiet and not options.format:
        sys.stdout.writelines(f"{row['ID']}\n" for row in rows)
        return 0
    columns = (*PS_COLUMNS, ("Size", "SIZE")) if options.size else PS_COLUMNS
    output.emit(columns, rows, options.format, PS_HEADINGS)
    return 0


def container_row(container: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """One container of GET /containers/json as the fields of ``ps --format``."""
    labels = container.get("Labels") or {}
    names = [name.removeprefix("/") for name in container.get("Names") or ()]
    own = [name for name in names if "/" not in name] or names  # a/b is what another container calls it
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or ()]
    command = container.get("Command", "")
    image = container.get("Image", "")
    if not whole:
        command = output.shortened(command, COMMAND_CHARS)
        mounts = [output.shortened(mount, 15) for mount in mounts]
        if image.startswith("sha256:"):
            image = output.short_id(image)
    return {
        "ID": container["Id"] if whole else output.short_id(container["Id"]),
        "Image": image,
        "Command": json.dumps(command, ensure_ascii=False),
        "CreatedAt": output.local_time(container.get("Created")),
        "RunningFor": output.ago(container.get("Created")),
        "Status": container.get("Status", ""),
        "State": container.get("State", ""),
        "Ports": ports_text(container.get("Ports") or ()),
        "Names": ",".join(names if whole else own),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LabelMap": labels,
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(m.get("Driver") == "local" for m in container.get("Mounts") or ())),
        "Networks": ",".join(sorted(container.get("NetworkSettings", {}).get("Networks") or ())),
        "Size": size_text(container),
    }


def size_text(container: dict[str, Any]) -> str:
    """``2B (virtual 4.86MB)``."""
    written = output.size(container.get("SizeRw") or 0, 3)
    whole = container.get("SizeRootFs") or 0
    return f"{written} (virtual {output.size(whole, 3)})" if whole else written


def ports_text(ports: Sequence[dict[str, Any]]) -> str:
    """``0.0.0.0:8080->80/tcp, 443/tcp``; neighbours are drawn together: ``8080-8082->80-82/tcp``."""
    singles = sorted(
        {
            (port.get("IP", ""), port.get("Type", "tcp"), port["PrivatePort"], port.get("PublicPort", 0))
            for port in ports
        },
        key=lambda one: (one[1], one[0] == "", one[2], one[0], one[3]),
    )
    runs: list[list[tuple[str, str, int, int]]] = []
    open_runs: dict[tuple[str, str], list[tuple[str, str, int, int]]] = {}
    for one in singles:
        ip, kind, inside, outside = one
        run = open_runs.get((ip, kind))
        if run and inside == run[-1][2] + 1 and (outside == run[-1][3] + 1 if outside else not run[-1][3]):
            run.append(one)
        else:
            run = [one]
            runs.append(run)
            open_runs[ip, kind] = run
    return ", ".join(port_text(run[0], run[-1]) for run in runs)


def port_text(first: tuple[str, str, int, int], last: tuple[str, str, int, int]) -> str:
    ip, kind, inside, outside = first

    def span(low: int, high: int) -> str:
        return str(low) if low == high else f"{low}-{high}"

    text = f"{span(inside, last[2])}/{kind}"
    if not outside:
        return text
    address = f"[{ip}]" if ":" in ip else ip
    return f"{address}:{span(outside, last[3])}->{text}"


# -- one word to many containers ---------------------------------------------------------------------------


def stop_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--time", "--timeout", type=int, metavar="SECONDS", help="before KILL; -1 for no KILL"
    )
    parser.add_argument("-s", "--signal", metavar="SIGNAL", help="instead of the container's own stop signal")
    names_option(parser)


def stop(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"t": options.time, "signal": options.signal}
    return for_each(options.containers, lambda name: client.post(f"/containers/{segment(name)}/stop", query))


restart_options = stop_options


def restart(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"t": options.time, "signal": options.signal}
    return for_each(
        options.containers, lambda name: client.post(f"/containers/{segment(name)}/restart", query)
    )


def kill_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-s", "--signal", default="KILL", metavar="SIGNAL", help="which one, KILL unless told"
    )
    names_option(parser)


def kill(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"signal": options.signal}
    return for_each(options.containers, lambda name: client.post(f"/containers/{segment(name)}/kill", query))


pause_options = names_option


def pause(options: argparse.Namespace) -> int:
    client = connect(options)
    return for_each(options.containers, lambda name: client.post(f"/containers/{segment(name)}/pause"))


unpause_options = names_option


def unpause(options: argparse.Namespace) -> int:
    client = connect(options)
    return for_each(options.containers, lambda name: client.post(f"/containers/{segment(name)}/unpause"))


def rm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill it first when it runs")
    parser.add_argument("-v", "--volumes", action="store_true", help="and its anonymous volumes")
    parser.add_argument("-l", "--link", action="store_true", help="remove a link, not a container")
    names_option(parser)


def rm(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"force": options.force, "v": options.volumes, "link": options.link}

    def remove(name: str) -> None:
        try:
            client.delete(f"/containers/{segment(name)}", query)
        except Refused as error:
            if not (options.force and error.status == 404):
                raise

    return for_each(options.containers, remove)


def rename_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", metavar="NAME")


def rename(options: argparse.Namespace) -> int:
    connect(options).post(f"/containers/{segment(options.container)}/rename", {"name": options.name})
    return 0


def update_options(parser: argparse.ArgumentParser) -> None:
    from webdock.cli.arguments import limit_options

    limit_options(parser)
    parser.add_argument("--restart", metavar="POLICY")
    names_option(parser)


def update(options: argparse.Namespace) -> int:
    from webdock.cli.limits import resources
    from webdock.cli.options import restart_policy

    body = resources(options)
    if options.restart:
        body["RestartPolicy"] = restart_policy(options.restart)
    if not body:
        raise Failure("nothing to change was given; see `webdock update --help`", 125)
    client = connect(options)

    def change(name: str) -> None:
        answer = client.post(f"/containers/{segment(name)}/update", None, body)
        for warning in (answer or {}).get("Warnings") or ():
            sys.stderr.write(f"WARNING: {warning}\n")

    return for_each(options.containers, change)


# -- questions ---------------------------------------------------------------------------------------------


wait_options = names_option


def wait(options: argparse.Namespace) -> int:
    """Print each container's exit code when it has stopped."""
    client = connect(options)
    code = 0
    for name in options.containers:
        try:
            print(client.post(f"/containers/{segment(name)}/wait")["StatusCode"], flush=True)
        except Refused as error:
            sys.stderr.write(f"webdock: {error}\n")
            code = 1
    return code


def port_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("port", nargs="?", metavar="PORT[/PROTO]", help="only where this one is published")


def port(options: argparse.Namespace) -> int:
    about = connect(options).get(f"/containers/{segment(options.container)}/json")
    bindings: dict[str, Any] = about["NetworkSettings"].get("Ports") or {}
    if options.port:
        wanted = options.port if "/" in options.port else f"{options.port}/tcp"
        found = bindings.get(wanted) or ()
        if not found:
            raise Failure(f"port {wanted} of {options.container} is not published")
        for binding in found:
            print(address_text(binding))
        return 0
    for name in sorted(bindings, key=lambda text: (text.partition("/")[2], int(text.partition("/")[0]))):
        for binding in bindings[name] or ():
            print(f"{name} -> {address_text(binding)}")
    return 0


def address_text(binding: dict[str, str]) -> str:
    ip = binding.get("HostIp") or "0.0.0.0"  # noqa: S104 - shown, not bound
    return f"[{ip}]:{binding['HostPort']}" if ":" in ip else f"{ip}:{binding['HostPort']}"


def top_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("ps_options", nargs=argparse.REMAINDER, metavar="PS-OPTION")


def top(options: argparse.Namespace) -> int:
    query = {"ps_args": " ".join(options.ps_options) or None}
    answer = connect(options).get(f"/containers/{segment(options.container)}/top", query)
    rows = [
        [output.one_line(cell) for cell in line] for line in [answer["Titles"], *(answer["Processes"] or [])]
    ]
    sys.stdout.write(output.align(rows))
    return 0
