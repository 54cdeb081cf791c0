"""Verbs over images: images, pull, push, tag, rmi, history, commit, login, logout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from webdock.cli import credentials, output, progress
from webdock.cli.containers import connect
from webdock.cli.errors import Failure
from webdock.cli.http import Client, Refused, image_segment

CREATED_BY_CHARS = 45
NONE = "<none>"


# -- lists -------------------------------------------------------------------------------------------------

IMAGE_COLUMNS = (
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
)
IMAGE_HEADINGS = {"Digest": "DIGEST", "CreatedAt": "CREATED AT"}


def images_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those between layers")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")
    parser.add_argument("--no-trunc", action="store_true", help="shorten nothing")
    parser.add_argument("--digests", action="store_true", help="also their digests")
    output.filter_option(parser, "dangling=true or reference=redis*")
    output.format_option(parser)
    parser.add_argument("reference", nargs="?", metavar="NAME[:TAG]", help="only these")


def images(options: argparse.Namespace) -> int:
    """List images, a line for each tag."""
    chosen = output.filters(options.filter) or {}
    if options.reference:
        chosen.setdefault("reference", []).append(options.reference)
    answer = connect(options).get(
        "/images/json", {"all": options.all, "filters": chosen or None, "digests": True}
    )
    if options.quiet and not options.format:
        for full in dict.fromkeys(image["Id"] for image in answer):
            print(full if options.no_trunc else output.short_id(full))
        return 0
    rows = [row for image in answer for row in image_rows(image, whole=options.no_trunc)]
    columns = IMAGE_COLUMNS
    if options.digests:
        columns = (*IMAGE_COLUMNS[:2], ("Digest", "DIGEST"), *IMAGE_COLUMNS[2:])  # type: ignore[assignment]
    output.emit(columns, rows, options.format, IMAGE_HEADINGS)
    return 0


def image_rows(image: dict[str, Any], *, whole: bool) -> Iterator[dict[str, Any]]:
    """One image of GET /images/json as the fields of ``images --format``, once for each of its names."""
    tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
    digests = dict(text.split("@", 1) for text in image.get("RepoDigests") or () if "@" in text)
    names = [split_tag(tag) for tag in tags]
    names += [(repository, NONE) for repository in digests if all(repository != known for known, _ in names)]
    for repository, tag in names or [(NONE, NONE)]:
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": digests.get(repository, NONE),
            "ID": image["Id"] if whole else output.short_id(image["Id"]),
            "CreatedSince": output.ago(image.get("Created")),
            "CreatedAt": output.local_time(image.get("Created")),
            "Size": output.size(image.get("Size", 0), 3),
            "Containers": str(image.get("Containers", "N/A")),
        }


def split_tag(name: str) -> tuple[str, str]:
    """``localhost:5000/a/b:1`` -> ("localhost:5000/a/b", "1"); no tag -> ""."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, ""
    return repository, tag


HISTORY_COLUMNS = (
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
)


def history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-trunc", action="store_true", help="shorten nothing")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")
    parser.add_argument(
        "-H",
        "--human",
        action="store_true",
        default=True,
        help="sizes with units and times as ages; --human=false gives bytes and moments",
    )
    output.format_option(parser)
    parser.add_argument("image", metavar="IMAGE")


def history(options: argparse.Namespace) -> int:
    steps = connect(options).get(f"/images/{image_segment(options.image)}/history")
    if options.quiet:
        for step in steps:
            print(step["Id"] if options.no_trunc else output.short_id(step["Id"]))
        return 0
    rows = []
    for step in steps:
        made_by = output.one_line(step.get("CreatedBy", ""))
        moment = output.iso_time(step.get("Created"))
        rows.append(
            {
                "ID": step["Id"] if options.no_trunc else output.short_id(step["Id"]),
                "CreatedSince": output.ago(step.get("Created")) if options.human else moment,
                "CreatedAt": moment,
                "CreatedBy": made_by if options.no_trunc else output.shortened(made_by, CREATED_BY_CHARS),
                "Size": output.size(step.get("Size", 0), 3) if options.human else str(step.get("Size", 0)),
                "Comment": step.get("Comment", ""),
            }
        )
    output.emit(HISTORY_COLUMNS, rows, options.format, {"CreatedAt": "CREATED AT"})
    return 0


# -- registries --------------------------------------------------------------------------------------------


def pull_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("-a", "--all-tags", action="store_true", help="every tag of the repository")
    parser.add_argument("--platform", metavar="OS/ARCH", help="another than this machine's")
    parser.add_argument("image", metavar="NAME[:TAG|@DIGEST]")


def pull(options: argparse.Namespace) -> int:
    client = connect(options)
    pull_image(
        client,
        options.image,
        platform=options.platform,
        quiet=options.quiet,
        out=sys.stdout,
        every=options.all_tags,
    )
    if options.quiet:
        print(options.image)
    return 0


def pull_image(
    client: Client, reference: str, *, platform: str | None, quiet: bool, out: TextIO, every: bool = False
) -> None:
    """Fetch an image and show how it goes.

    Raises:
        Failure: with the engine's words.
    """
    query: dict[str, object] = {"fromImage": reference, "platform": platform}
    if "@" not in reference and not every:
        repository, tag = split_tag(reference)
        query = {"fromImage": repository, "tag": tag or "latest", "platform": platform}
        if not tag and not quiet:
            out.write("Using default tag: latest\n")
    headers = credentials.header(reference, os.environ)
    messages = client.stream("POST", "/images/create", query, headers=headers)
    with open(os.devnull, "w") as nowhere:
        progress.show(messages, nowhere if quiet else out)


def push_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("-a", "--all-tags", action="store_true", help="every tag of the repository")
    parser.add_argument("image", metavar="NAME[:TAG]")


def push(options: argparse.Namespace) -> int:
    repository, tag = split_tag(options.image)
    query = {"tag": None if options.all_tags else tag or "latest"}
    # Spec: Docker API 1.47, ImagePush: the header is required, empty credentials included.
    known = credentials.find(credentials.registry_of(options.image), os.environ) or {}
    headers = {"X-Registry-Auth": credentials.encode(known)}
    messages = connect(options).stream(
        "POST", f"/images/{image_segment(repository)}/push", query, headers=headers
    )
    with open(os.devnull, "w") as nowhere:
        progress.show(messages, nowhere if options.quiet else sys.stdout)
    if options.quiet:
        print(options.image)
    return 0


def login_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-u", "--username", metavar="NAME")
    parser.add_argument(
        "-p", "--password", metavar="SECRET", help="seen by everyone on this machine; rather type it"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    parser.add_argument("registry", nargs="?", metavar="REGISTRY", default="", help="Docker Hub without one")


def login(options: argparse.Namespace) -> int:
    registry = credentials.DOCKER_HUB if options.registry in ("", "docker.io") else options.registry
    user = options.username or ask("Username: ")
    if options.password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    elif options.password:
        password = options.password
    else:
        import getpass

        password = getpass.getpass("Password: ")
    body = {"username": user, "password": password, "serveraddress": registry}
    answer = connect(options).post("/auth", None, body) or {}
    path = credentials.remember(registry, user, password, os.environ)
    print(f"{answer.get('Status', 'Login Succeeded')}; kept in {path}, unencrypted")
    return 0


def ask(prompt: str) -> str:
    try:
        return input(prompt)
    except EOFError:
        raise Failure("a name is needed; give it with --username") from None


def logout_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", nargs="?", metavar="REGISTRY", default="")


def logout(options: argparse.Namespace) -> int:
    registry = credentials.DOCKER_HUB if options.registry in ("", "docker.io") else options.registry
    known = credentials.forget(registry, os.environ)
    print(f"Removed the credentials of {registry}" if known else f"Nothing was kept for {registry}")
    return 0


# -- names and removal -------------------------------------------------------------------------------------


def tag_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("name", metavar="NAME[:TAG]")


def tag(options: argparse.Namespace) -> int:
    repository, tag_name = split_tag(options.name)
    query = {"repo": repository, "tag": tag_name or "latest"}
    connect(options).post(f"/images/{image_segment(options.image)}/tag", query)
    return 0


def rmi_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--force", action="store_true", help="also when a stopped container was made of it"
    )
    parser.add_argument("--no-prune", action="store_true", help="keep parents that have no name")
    parser.add_argument("images", nargs="+", metavar="IMAGE")


def rmi(options: argparse.Namespace) -> int:
    client = connect(options)
    query = {"force": options.force, "noprune": options.no_prune}
    code = 0
    for name in options.images:
        try:
            answer = client.delete(f"/images/{image_segment(name)}", query)
        except Refused as error:
            if not (options.force and error.status == 404):
                sys.stdout.flush()
                sys.stderr.write(f"webdock: {error}\n")
                code = 1
            continue
        print_removed(answer)
    return code


def print_removed(answer: list[dict[str, str]] | None) -> None:
    for entry in answer or ():
        for what, name in entry.items():
            print(f"{what}: {name}", flush=True)


def commit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--author", metavar="TEXT")
    parser.add_argument("-c", "--change", action="append", default=[], metavar="LINE")
    parser.add_argument("-m", "--message", metavar="TEXT")
    parser.add_argument("-p", "--pause", action="store_true", default=True, help=argparse.SUPPRESS)
    parser.add_argument("--no-pause", action="store_true", help="let it run meanwhile")
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", nargs="?", metavar="NAME[:TAG]", default="")


def commit(options: argparse.Namespace) -> int:
    repository, tag_name = split_tag(options.name)
    query = {
        "container": options.container,
        "repo": repository or None,
        "tag": tag_name or None,
        "comment": options.message,
        "author": options.author,
        "changes": options.change,
        "pause": "1" if options.pause and not options.no_pause else "0",
    }
    print(connect(options).post("/commit", query)["Id"])
    return 0
