"""Verbs over networks and volumes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from webdock.cli import output
from webdock.cli.containers import connect, for_each
from webdock.cli.endpoints import address_settings
from webdock.cli.errors import USAGE, Failure
from webdock.cli.http import segment
from webdock.cli.pairs import pairs

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
    parser.add_argument("--attachable", action="store_true", help="containers may be attached by hand")
    parser.add_argument(
        "--aux-address", action="append", default=[], metavar="NAME=ADDRESS", help="keep this address free"
    )
    parser.add_argument("--ipam-driver", default="default", metavar="DRIVER")
    parser.add_argument("--ipam-opt", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--scope", default="", metavar="SCOPE")
    parser.add_argument("--ingress", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--config-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--config-from", metavar="NETWORK", help=argparse.SUPPRESS)
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="option of the driver"
    )
    parser.add_argument("name", metavar="NETWORK")


def network_create(options: argparse.Namespace) -> int:
    body: dict[str, Any] = {
        "Name": options.name,
        "CheckDuplicate": True,
        "Driver": options.driver,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "EnableIPv6": options.ipv6,
        "Options": pairs(options.opt, [], "--opt"),
        "Labels": pairs(options.label, [], "--label"),
        "IPAM": {
            "Driver": options.ipam_driver,
            "Options": pairs(options.ipam_opt, [], "--ipam-opt"),
            "Config": address_pools(options),
        },
        "Scope": options.scope,
        "Ingress": options.ingress,
        "ConfigOnly": options.config_only,
        "ConfigFrom": {"Network": options.config_from} if options.config_from else None,
    }
    answer = connect(options).post("/networks/create", None, body)
    if warning := answer.get("Warning"):
        sys.stderr.write(f"WARNING: {warning}\n")
    print(answer["Id"])
    return 0


def address_pools(options: argparse.Namespace) -> list[dict[str, Any]]:
    """IPAM.Config: each subnet with the gateway, range and kept addresses that lie in it."""
    pools: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in options.subnet]
    for address in options.gateway:
        pool = pool_of(pools, address, "--gateway")
        if "Gateway" in pool:
            raise Failure(f"--gateway: subnet {pool['Subnet']} has two", USAGE)
        pool["Gateway"] = address
    for span in options.ip_range:
        pool = pool_of(pools, span, "--ip-range")
        if "IPRange" in pool:
            raise Failure(f"--ip-range: subnet {pool['Subnet']} has two", USAGE)
        pool["IPRange"] = span
    for name, address in pairs(options.aux_address, [], "--aux-address").items():
        pool_of(pools, address, "--aux-address").setdefault("AuxiliaryAddresses", {})[name] = address
    return pools


def pool_of(pools: list[dict[str, Any]], address: str, option: str) -> dict[str, Any]:
    """The pool whose subnet holds an address or range. Raises: Failure when there is none."""
    import ipaddress

    try:
        wanted = ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise Failure(f"{option}: {address!r} is no address", USAGE) from None
    for pool in pools:
        try:
            subnet = ipaddress.ip_network(pool["Subnet"], strict=False)
        except ValueError:
            raise Failure(f"--subnet: {pool['Subnet']!r} is none; write 10.5.0.0/16", USAGE) from None
        if wanted.version == subnet.version and wanted.subnet_of(subnet):  # type: ignore[arg-type]
            return pool
    raise Failure(f"{option}: {address} lies in no --subnet", USAGE)


def network_rm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def network_rm(options: argparse.Namespace) -> int:
    client = connect(options)
    return for_each(options.names, lambda name: client.delete(f"/networks/{segment(name)}"))


def network_inspect_options(parser: argparse.ArgumentParser) -> None:
    output.format_option(parser, "-f")
    parser.add_argument("-v", "--verbose", action="store_true", help="what only a diagnosis needs, too")
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def network_inspect(options: argparse.Namespace) -> int:
    from webdock.cli.system import show_documents

    client = connect(options)
    query = {"verbose": True} if options.verbose else None
    return show_documents(
        options.names, lambda name: client.get(f"/networks/{segment(name)}", query), options.format
    )


def network_connect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alias", action="append", default=[], metavar="NAME")
    parser.add_argument("--ip", metavar="ADDRESS")
    parser.add_argument("--ip6", metavar="ADDRESS")
    parser.add_argument("--link-local-ip", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--link", action="append", default=[], metavar="CONTAINER[:ALIAS]")
    parser.add_argument("--driver-opt", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def network_connect(options: argparse.Namespace) -> int:
    settings: dict[str, Any] = {"Aliases": options.alias, "Links": options.link}
    if addresses := address_settings(options):
        settings["IPAMConfig"] = addresses
    if options.driver_opt:
        settings["DriverOpts"] = pairs(options.driver_opt, [], "--driver-opt")
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
    output.format_option(parser, "-f")
    parser.add_argument("names", nargs="+", metavar="VOLUME")


def volume_inspect(options: argparse.Namespace) -> int:
    from webdock.cli.system import show_documents

    client = connect(options)
    return show_documents(options.names, lambda name: client.get(f"/volumes/{segment(name)}"), options.format)
