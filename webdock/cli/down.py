"""``webdock down``: stops engine and web, and with ``--purge`` removes everything the instance ever made."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from webdock.cli import instance as instances
from webdock.cli.directories import ensure_directories
from webdock.cli.errors import Failure
from webdock.cli.http import Client
from webdock.cli.instance import Instance
from webdock.cli.running import (
    UNITS,
    engine_answers,
    released,
    run_by_systemd,
    stop_supervisor,
    take_locks,
)
from webdock.cli.serve import chosen, need_root
from webdock.cli.setup import repair_machine
from webdock.cli.supervisor import Child, Log, StartFailed, Supervisor
from webdock.cli.users import ensure_users, remove_web_user

READY_TIMEOUT_S = 60.0


def down_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument(
        "--purge", action="store_true", help="remove every container, image, volume, account and setting"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask before a purge")


def down(options: argparse.Namespace) -> int:
    """Stop engine and web; containers keep running. With --purge nothing of the instance is left."""
    need_root("down")
    instance = chosen(options)
    if run_by_systemd(instance):
        raise Failure(f"systemd runs this one; stop it with: systemctl stop {' '.join(UNITS)}")
    if not options.purge:
        if stop_supervisor(instance):
            print("webdock has stopped; containers keep running")
        else:
            print("webdock is not running")
        return 0
    if not options.yes and sys.stdin.isatty():
        answer = input(f"Remove every container, image, volume and account of {instance.home}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            return 1
    purge(instance)
    print(f"nothing of webdock is left under {instance.home} and {instance.run}")
    return 0


def purge(instance: Instance) -> None:
    """Remove containers, networks and volumes through the engine, then everything under home and run.

    An engine that cannot start any more, or cannot remove something, is done without.
    """
    stop_supervisor(instance)
    locks = take_locks(instance)
    if locks is None:
        raise Failure("another `webdock up` has just started this instance")
    without = False
    with released(locks):
        if instance.engine_home.is_dir():
            repair_machine()
            ensure_users(instance)
            ensure_directories(instance)
            supervisor = Supervisor()
            argv = ["setpriv", "--pdeathsig=TERM", "--", sys.executable, "-I", "-m", "webdock", "engine"]
            log = Log(instance.log_home / "engine.log", None)
            try:
                environ = instance.environ(os.environ)
                supervisor.add(Child("engine", argv, environ, log, lambda: engine_answers(instance)))
                supervisor.wait_until_ready(READY_TIMEOUT_S)
                purge_engine(Client(f"unix://{instance.engine_socket}"))
            except StartFailed as failed:
                without = True
                print(f"{failed}\n{failed.tail}\neverything is removed without it", file=sys.stderr)
            except Failure as failed:
                without = True
                print(f"the engine cannot remove everything: {failed}; it is done without", file=sys.stderr)
            finally:
                supervisor.close()
        environ = instance.environ(os.environ)
        done = subprocess.run(
            [sys.executable, "-I", "-m", "runtime.purge", *(["--tell"] if without else [])],
            env=environ,
            cwd="/",
            check=False,
        )
        if done.returncode != 0:
            raise Failure("something could not be removed; the line above says what")
        for path in (instance.web_home, instance.log_home, instance.app_home):
            remove_tree(path)
        remove_web_user(instance)
        (instance.home / "static.stamp").unlink(missing_ok=True)
        instance.home_lock.unlink(missing_ok=True)
        instance.run_lock.unlink(missing_ok=True)
    for directory in (instance.home, instance.run):
        try:
            directory.rmdir()
        except OSError:
            pass  # something that is not ours lies in it


def remove_tree(path: Path) -> None:
    """Remove a directory of ours, never anything that is mounted or linked there."""
    if path.is_symlink() or path.is_mount():
        raise Failure(f"{path} is a link or a mount point; remove it by hand")
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise Failure(f"{path} cannot be removed completely; something in it is still in use")


def purge_engine(client: Client) -> None:
    """Remove containers, networks and volumes, which leave traces outside the home."""
    for container in client.get("/containers/json", {"all": True}):
        client.delete(f"/containers/{container['Id']}", {"force": True, "v": True})
    for network in client.get("/networks"):
        if network["Name"] not in ("bridge", "host", "none"):
            client.delete(f"/networks/{network['Id']}")
    for volume in client.get("/volumes").get("Volumes") or ():
        client.delete(f"/volumes/{volume['Name']}", {"force": True})
