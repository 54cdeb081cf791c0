"""``webdock backup`` and ``webdock restore``: accounts, settings and named volumes in one tar archive.

    backup.json              what it is, of which version of the state
    web/webdock.sqlite3      accounts, rights, audit: a consistent copy, taken while everything runs
    web/secret_key           the key that signs sessions
    web/registries.key       the key that passwords of registries and second factors are encrypted with
    config/engine.toml       the engine's configuration, when there is one
    volumes/<name>/…         named volumes, with owners, modes, links and attributes

Images and containers are not in it: images are fetched again, containers made again. A volume that is written
to meanwhile is copied as it is found; stop its containers first when its program needs more than that.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from webdock import __version__
from webdock.cli import instance as instances
from webdock.cli.errors import Failure
from webdock.cli.instance import Instance
from webdock.cli.running import released, take_locks
from webdock.cli.serve import chosen, need_root

FORMAT = 1
KIND = "webdock backup"
DATABASE = "webdock.sqlite3"
KEYS = ("secret_key", "registries.key")
STATE_VERSION = "state-version"
COPY_TIMEOUT_S = 600.0
TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse")
#: What tar packs with when a name ends so; .gz is not here, as every Debian has it.
PACKERS = {".zst": "zstd", ".xz": "xz", ".bz2": "bzip2"}
#: What tar says after the reason.
AFTERWORDS = ("Error is not recoverable", "Exiting with failure status", "Child returned status")

#: Runs as the web user: SQLite's own online copy, written to standard output.
COPY_DATABASE = """
import pathlib, shutil, sqlite3, sys, tempfile
source = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
    copied = pathlib.Path(scratch, "copy")
    one, other = sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=30), sqlite3.connect(copied)
    one.backup(other)
    other.close()
    one.close()
    with open(copied, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
"""


def backup_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument(
        "file", metavar="FILE", help="archive to write; .gz or .zst behind its name compresses"
    )


def backup(options: argparse.Namespace) -> int:
    """Write the archive beside its place and rename it when it is whole."""
    need_root("backup")
    refuse_postgres("backup", "pg_dump")
    instance = chosen(options)
    target = Path(options.file).absolute()
    if not (instance.web_home / DATABASE).exists():
        raise Failure(f"there is nothing to back up in {instance.home}: no database in {instance.web_home}")
    fresh = target.with_name(f".{target.name.removesuffix(target.suffix)}.new{target.suffix}")
    fresh.unlink(missing_ok=True)
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # it holds every secret
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=instance.home) as scratch:
            stage = Path(scratch)
            collect(instance, stage)
            names = sorted(path.name for path in stage.iterdir())
            volumes = instance.engine_home / "volumes"
            more = (
                ["-C", str(instance.engine_home), "--exclude=volumes/.*", "volumes"]
                if volumes.is_dir()
                else []
            )
            # 1: a file changed while it was read, as files of running containers do.
            archive(fresh, ["--auto-compress", "--create", "-C", str(stage), *names, *more], (0, 1))
        fresh.rename(target)
    finally:
        fresh.unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size} bytes; it holds secrets, keep it where only root reads")
    return 0


def collect(instance: Instance, stage: Path) -> None:
    """Put the small parts where tar finds them."""
    version = instance.engine_home / STATE_VERSION
    about = {
        "kind": KIND,
        "format": FORMAT,
        "webdock": __version__,
        "state": int(version.read_text()) if version.exists() else 1,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (stage / "backup.json").write_text(json.dumps(about, indent=2) + "\n")
    (stage / "web").mkdir()
    user, database = instance.web_user, instance.web_home / DATABASE
    web_user_copies(user, ["-c", COPY_DATABASE, str(database)], stage / "web" / DATABASE)
    read = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    for name in KEYS:
        if (key := instance.web_home / name).exists():
            web_user_copies(user, ["-c", read, str(key)], stage / "web" / name)
    config = instance.config or Path(instances.DEFAULT_CONFIG)
    if config.is_file():
        (stage / "config").mkdir()
        shutil.copyfile(config, stage / "config" / "engine.toml")


def web_user_copies(user: str, arguments: list[str], target: Path) -> None:
    """Have the web user read its own file: root would follow a link the web user could have put there."""
    from webdock.cli.setup import base_python
    from webdock.cli.users import as_web_user

    with open(target, "xb") as file:
        done = subprocess.run(
            as_web_user(user, [base_python(), "-I", *arguments]),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=COPY_TIMEOUT_S,
        )
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Failure(f"{arguments[-1]} cannot be copied: {' '.join(last)}")


def archive(file: Path, arguments: list[str], well: tuple[int, ...] = (0,)) -> None:
    """Run tar on an archive. Raises: Failure with the reason it gives."""
    if file.suffix in PACKERS and shutil.which(PACKERS[file.suffix]) is None:
        raise Failure(
            f"{file.name} takes the program {PACKERS[file.suffix]}, which is not installed; "
            "install it, or name the archive .tar or .tar.gz"
        )
    done = subprocess.run(
        [*TAR, "--file", str(file), *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode not in well:
        said = [line.removeprefix("tar: ") for line in done.stderr.strip().splitlines()]
        reasons = [line for line in said if not line.startswith(AFTERWORDS)]
        reason = (reasons or [f"exit code {done.returncode}"])[-1]
        if "Wrote only" in reason:  # tar's words for the end of a disk
            reason = os.strerror(errno.ENOSPC)
        raise Failure(f"{file}: tar failed: {reason}")


def restore_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("file", metavar="FILE", help="archive that `webdock backup` wrote")


def restore(options: argparse.Namespace) -> int:
    """Fill an empty home; nothing is put in its place before the whole archive was read."""
    need_root("restore")
    refuse_postgres("restore", "pg_restore")
    from webdock.cli.directories import ensure_directories
    from webdock.cli.users import ensure_users

    instance = chosen(options)
    source = Path(options.file).absolute()
    if not source.is_file():
        raise Failure(f"there is no file {source}")
    locks = take_locks(instance)
    if locks is None:
        raise Failure("webdock runs there; `webdock down` first")
    with released(locks):
        for place in (instance.engine_home, instance.web_home):
            if place.is_dir() and any(place.iterdir()):
                raise Failure(
                    f"{place} is not empty: restore into another --home, or `webdock down --purge` first"
                )
        ensure_users(instance)
        ensure_directories(instance)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=instance.home) as scratch:
            stage = Path(scratch)
            archive(source, ["--extract", "--same-permissions", "--same-owner", "-C", str(stage)])
            about = examine(stage, source)
            put_in_place(instance, stage, about)
    print(f"restored the backup of {about['made']}; `webdock up` starts it")
    return 0


def examine(stage: Path, source: Path) -> dict[str, Any]:
    """What the archive says of itself. Raises: Failure when it is none of ours, or too new."""
    try:
        about = json.loads((stage / "backup.json").read_text())
        kind, form, _ = about["kind"], int(about["format"]), int(about["state"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"{source} is not an archive of `webdock backup`") from None
    if kind != KIND or form > FORMAT:
        raise Failure(
            f"{source} was made by a newer webdock ({about.get('webdock')}); restore it with that one"
        )
    return dict(about)


def put_in_place(instance: Instance, stage: Path, about: dict[str, Any]) -> None:
    """Move the parts where engine and web look for them; the engine checks the version at its start."""
    for name in (DATABASE, *KEYS):
        part = stage / "web" / name
        if part.is_file() and not part.is_symlink():
            part.chmod(0o600)
            shutil.chown(part, instance.web_user, instance.web_user)
            part.rename(instance.web_home / name)
    version = instance.engine_home / STATE_VERSION
    version.write_text(f"{int(about['state'])}\n")
    version.chmod(0o600)
    if (stage / "volumes").is_dir():
        (stage / "volumes").rename(instance.engine_home / "volumes")
    kept = stage / "config" / "engine.toml"
    config = instance.config or Path(instances.DEFAULT_CONFIG)
    if not kept.is_file():
        return
    if config.exists():
        if config.read_bytes() != kept.read_bytes():
            beside = instance.home / "engine.toml.restored"
            kept.chmod(0o600)
            kept.rename(beside)
            print(f"{config} was kept as it is; the backup's configuration lies in {beside}")
        return
    config.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, config)


def refuse_postgres(verb: str, tool: str) -> None:
    """PostgreSQL has its own tools, which need its own rights."""
    if os.environ.get("WEBDOCK_DATABASE_URL"):
        raise Failure(
            f"WEBDOCK_DATABASE_URL is set, so the accounts are in a database "
            f"that `webdock {verb}` does not touch: "
            f"use {tool} for it"
        )
