"""Verbs over networks and volumes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from webdock.cli import output
from webdock.cli.containers import connect, for_each
from webdock.cli.http import segment
from webdock.cli.options import pairs

NETWORK_COLUMNS = (("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE"))
VOLUME_COLUMNS = (("Driver", "DRIVER"), ("Name", "VOLUME NAME"))


def list_options(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names or ids only")
    parser.add_argument("--no-trunc", action="store_true", help="shorten nothing")
    output.filter_option(parser, example)
    output.format_option(parser)


# -- networks ----------------------------------------------------------------------------------------------


def network_ls_options(parser: argparse.ArgumentParser) -> None:
    list_options(parser, "driver=bridge")


def network_ls(options: argparse.Namespace) -> int:
    answer = connect(options).get("/networks", {"filters": output.filters(options.filter)})
    rows = [
        {
            "ID": network["Id"] if options.no_trunc else output.short_id(network["Id"]),
            "Name": network["Name"],
            "Driver": network["Driver"],
            "Scope": network.get("Scope", "local"),
            "Internal": str(bool(network.get("Internal"))).lower(),
            "IPv6": str(bool(network.get("EnableIPv6"))).lower(),
            "CreatedAt": network.get("Created", ""),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted((network.get("Labels") or {}).items())),
            "LabelMap": network.get("Labels") or {},
        }
        for network in sorted(answer, key=lambda network: network["Name"])
    ]
    if options.quiet:
        sys.stdout.writelines(f"{row['ID']}\n" for row in rows)
    else:
        output.emit(NETWORK_COLUMNS, rows, options.format)
    return 0


def network_create_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--driver", default="bridge", metavar="DRIVER")
    parser.add_argument("--subnet", action="append", default=[], metavar="CIDR", help="like 10.5.0.0/16")
    parser.add_argument("--gateway", action="append", default=[], metavar="ADDRESS")
    parser.add_argument(
        "--ip-range", action="append", default=[], metavar="CIDR", help="addresses come from here"
    )
    parser.add_argument("--internal", action="store_true", help="no way out of it")
    parser.add_argument("--ipv6", action="store_true")
    parser.add_argument("--attachable", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="option of the driver"
    )
    parser.add_argument("name", metavar="NETWORK")


def network_create(options: argparse.Namespace) -> int:
    pools: list[dict[str, str]] = []
    for position, subnet in enumerate(options.subnet):
        pool = {"Subnet": subnet}
        if position < len(options.gateway):
            pool["Gateway"] = options.gateway[position]
        if position < len(options.ip_range):
            pool["IPRange"] = options.ip_range[position]
        pools.append(pool)
    body: dict[str, Any] = {
        "Name": options.name,
        "CheckDuplicate": True,
        "Driver": options.driver,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "EnableIPv6": options.ipv6,
        "Options": pairs(options.opt, [], "--opt"),
        "Labels": pairs(options.label, [], "--label"),
        "IPAM": {"Driver": "default", "Config": pools},
    }
    answer = connect(options).post("/networks/create", None, body)
    if warning := answer.get("Warning"):
        sys.stderr.write(f"WARNING: {warning}\n")
    print(answer["Id"])
    return 0


def network_rm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def network_rm(options: argparse.Namespace) -> int:
    client = connect(options)
    return for_each(options.names, lambda name: client.delete(f"/networks/{segment(name)}"))


def network_inspect_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser)
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def network_inspect(options: argparse.Namespace) -> int:
    from webdock.cli.system import show_documents

    client = connect(options)
    return show_documents(
        options.names, lambda name: client.get(f"/networks/{segment(name)}"), options.format
    )


def network_connect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alias", action="append", default=[], metavar="NAME")
    parser.add_argument("--ip", metavar="ADDRESS")
    parser.add_argument("--ip6", metavar="ADDRESS")
    parser.add_argument("--link", action="append", default=[], metavar="CONTAINER[:ALIAS]")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def network_connect(options: argparse.Namespace) -> int:
    settings: dict[str, Any] = {"Aliases": options.alias, "Links": options.link}
    if options.ip or options.ip6:
        settings["IPAMConfig"] = {"IPv4Address": options.ip or "", "IPv6Address": options.ip6 or ""}
    body = {"Container": options.container, "EndpointConfig": settings}
    connect(options).post(f"/networks/{segment(options.network)}/connect", None, body)
    return 0


def network_disconnect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def network_disconnect(options: argparse.Namespace) -> int:
    body = {"Container": options.container, "Force": options.force}
    connect(options).post(f"/networks/{segment(options.network)}/disconnect", None, body)
    return 0


def network_prune_options(parser: argparse.ArgumentParser) -> None:
    prune_options(parser)


def network_prune(options: argparse.Namespace) -> int:
    from webdock.cli.system import confirm

    if not options.force and not confirm("This removes every network that no container uses."):
        return 1
    answer = connect(options).post("/networks/prune", {"filters": output.filters(options.filter)})
    for name in answer.get("NetworksDeleted") or ():
        print(name)
    return 0


# -- volumes -----------------------------------------------------------------------------------------------


def volume_ls_options(parser: argparse.ArgumentParser) -> None:
    list_options(parser, "dangling=true")


def volume_ls(options: argparse.Namespace) -> int:
    answer = connect(options).get("/volumes", {"filters": output.filters(options.filter)})
    rows = [
        {
            "Name": volume["Name"],
            "Driver": volume.get("Driver", "local"),
            "Scope": volume.get("Scope", "local"),
            "Mountpoint": volume.get("Mountpoint", ""),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted((volume.get("Labels") or {}).items())),
            "LabelMap": volume.get("Labels") or {},
        }
        for volume in sorted(answer.get("Volumes") or (), key=lambda volume: volume["Name"])
    ]
    if options.quiet:
        sys.stdout.writelines(f"{row['Name']}\n" for row in rows)
    else:
        output.emit(VOLUME_COLUMNS, rows, options.format)
    return 0


def volume_create_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--driver", default="local", metavar="DRIVER")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="option of the driver"
    )
    parser.add_argument("name", nargs="?", metavar="VOLUME", default="")


def volume_create(options: argparse.Namespace) -> int:
    body = {
        "Name": options.name,
        "Driver": options.driver,
        "DriverOpts": pairs(options.opt, [], "--opt"),
        "Labels": pairs(options.label, [], "--label"),
    }
    print(connect(options).post("/volumes/create", None, body)["Name"])
    return 0


def volume_rm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("names", nargs="+", metavar="VOLUME")


def volume_rm(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"force": options.force}
    return for_each(options.names, lambda name: client.delete(f"/volumes/{segment(name)}", query))


def volume_inspect_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser)
    parser.add_argument("names", nargs="+", metavar="VOLUME")


def volume_inspect(options: argparse.Namespace) -> int:
    from webdock.cli.system import show_documents

    client = connect(options)
    return show_documents(options.names, lambda name: client.get(f"/volumes/{segment(name)}"), options.format)


def volume_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those with a name")
    prune_options(parser)


def volume_prune(options: argparse.Namespace) -> int:
    from webdock.cli.system import confirm

    which = "every volume" if options.all else "every anonymous volume"
    if not options.force and not confirm(f"This removes {which} that no container uses, with its data."):
        return 1
    chosen = output.filters(options.filter) or {}
    if options.all:
        chosen["all"] = ["true"]
    answer = connect(options).post("/volumes/prune", {"filters": chosen or None})
    for name in answer.get("VolumesDeleted") or ():
        print(name)
    print(f"Total reclaimed space: {output.size(answer.get('SpaceReclaimed', 0))}")
    return 0


def prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE")
