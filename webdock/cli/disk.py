"""Verbs about disk space: df, and the prunes that give it back, asked for in Docker's words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from webdock.cli import output
from webdock.cli.containers import connect
from webdock.cli.http import Client

DF_COLUMNS = (
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
)


IMAGES_COLUMNS = (
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
)
CONTAINERS_COLUMNS = (
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
)
VOLUMES_COLUMNS = (("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE"))


def df_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="each image, container and volume")
    output.format_option(parser)


def df(options: argparse.Namespace) -> int:
    usage = connect(options).get("/system/df")
    images = usage.get("Images") or []
    containers = usage.get("Containers") or []
    volumes = usage.get("Volumes") or []
    if options.verbose:
        show_each(images, containers, volumes, options.format)
        return 0
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


def show_each(
    images: Sequence[dict[str, Any]],
    containers: Sequence[dict[str, Any]],
    volumes: Sequence[dict[str, Any]],
    form: str | None,
) -> None:
    """One table of each kind; with a format, one document of the three lists."""
    from webdock.cli.containers import container_row

    image_rows = [row for image in images for row in df_image_rows(image)]
    container_rows = [container_row(container, whole=False) for container in containers]
    volume_rows = [
        {
            "Name": volume["Name"],
            "Links": str((volume.get("UsageData") or {}).get("RefCount", 0)),
            "Size": output.size(stored([volume])),
        }
        for volume in volumes
    ]
    if form and form != "table":
        from webdock.cli.system import print_formatted

        lists = {"Images": image_rows, "Containers": container_rows, "Volumes": volume_rows}
        print_formatted({key: [output.public(row) for row in rows] for key, rows in lists.items()}, form)
        return
    sys.stdout.write(f"Images space usage:\n\n{output.table(IMAGES_COLUMNS, image_rows)}\n")
    sys.stdout.write(f"Containers space usage:\n\n{output.table(CONTAINERS_COLUMNS, container_rows)}\n")
    sys.stdout.write(f"Local Volumes space usage:\n\n{output.table(VOLUMES_COLUMNS, volume_rows)}")


def df_image_rows(image: dict[str, Any]) -> list[dict[str, Any]]:
    """An image once for each of its names, with what it shares with others and what it has alone."""
    from webdock.cli.images import image_rows

    shared = max(0, image.get("SharedSize", 0))
    more = {
        "SharedSize": output.size(shared, 3),
        "UniqueSize": output.size(max(0, image.get("Size", 0) - shared), 3),
        "Containers": str(max(0, int(image.get("Containers") or 0))),
    }
    return [{**row, **more} for row in image_rows(image, whole=False)]


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


# -- prune -------------------------------------------------------------------------------------------------


def confirm(warning: str) -> bool:
    """Ask, on the terminal or down a pipe; no answer is no."""
    sys.stderr.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\nNobody is there to answer; give --force.\n")
    return answer.strip().lower() in ("y", "yes")


def shared_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help="only what fits")


def removed(title: str, names: Sequence[str] | None) -> None:
    """A list of what is gone, under its title; nothing when nothing is."""
    if names:
        print(f"{title}:", *names, "", sep="\n")


def reclaimed(freed: int) -> None:
    print(f"Total reclaimed space: {output.size(freed)}")


def prune_containers(client: Client, chosen: dict[str, list[str]] | None) -> int:
    answer = client.post("/containers/prune", {"filters": chosen})
    removed("Deleted Containers", answer.get("ContainersDeleted"))
    return int(answer.get("SpaceReclaimed") or 0)


def prune_networks(client: Client, chosen: dict[str, list[str]] | None) -> None:
    removed("Deleted Networks", client.post("/networks/prune", {"filters": chosen}).get("NetworksDeleted"))


def prune_volumes(client: Client, chosen: dict[str, list[str]] | None, *, named: bool) -> int:
    """Anonymous volumes nobody uses; with ``named`` those that have a name as well."""
    if named:
        chosen = {**(chosen or {}), "all": ["true"]}
    answer = client.post("/volumes/prune", {"filters": chosen})
    removed("Deleted Volumes", answer.get("VolumesDeleted"))
    return int(answer.get("SpaceReclaimed") or 0)


def prune_images(client: Client, chosen: dict[str, list[str]] | None, *, named: bool) -> int:
    """Nameless images nobody uses; with ``named`` those that have a name as well."""
    query = {**(chosen or {}), "dangling": ["false" if named else "true"]}
    answer = client.post("/images/prune", {"filters": query})
    gone = [
        f"untagged: {one['Untagged']}" if "Untagged" in one else f"deleted: {one['Deleted']}"
        for one in answer.get("ImagesDeleted") or ()
    ]
    removed("Deleted Images", gone)
    return int(answer.get("SpaceReclaimed") or 0)


container_prune_options = shared_options


def container_prune(options: argparse.Namespace) -> int:
    if not options.force and not confirm("This will remove all stopped containers."):
        return 1
    reclaimed(prune_containers(connect(options), output.filters(options.filter)))
    return 0


network_prune_options = shared_options


def network_prune(options: argparse.Namespace) -> int:
    warning = "This will remove all custom networks not used by at least one container."
    if not options.force and not confirm(warning):
        return 1
    prune_networks(connect(options), output.filters(options.filter))
    return 0


def volume_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those with a name")
    shared_options(parser)


def volume_prune(options: argparse.Namespace) -> int:
    which = "" if options.all else "anonymous "
    warning = f"This will remove all {which}local volumes not used by at least one container."
    if not options.force and not confirm(warning):
        return 1
    reclaimed(prune_volumes(connect(options), output.filters(options.filter), named=options.all))
    return 0


def image_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a", "--all", action="store_true", help="also those with a name, when no container uses them"
    )
    shared_options(parser)


def image_prune(options: argparse.Namespace) -> int:
    if not options.force and not confirm(f"This will remove {images_text(options)}."):
        return 1
    reclaimed(prune_images(connect(options), output.filters(options.filter), named=options.all))
    return 0


def images_text(options: argparse.Namespace) -> str:
    if options.all:
        return "all images without at least one container associated to them"
    return "all dangling images"


def prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--volumes", action="store_true", help="also anonymous volumes nobody uses")
    image_prune_options(parser)


def prune(options: argparse.Namespace) -> int:
    """Containers first: what they held is then unused."""
    things = ["all stopped containers", "all networks not used by at least one container"]
    if options.volumes:
        things.append("all anonymous volumes not used by at least one container")
    things.append(images_text(options))
    warning = "".join(["This will remove:\n", *(f"  - {thing}\n" for thing in things)])
    if not options.force and not confirm(warning):
        return 1
    client = connect(options)
    chosen = output.filters(options.filter)
    freed = prune_containers(client, chosen)
    prune_networks(client, chosen)
    if options.volumes:
        freed += prune_volumes(client, chosen, named=False)
    freed += prune_images(client, chosen, named=options.all)
    reclaimed(freed)
    return 0
