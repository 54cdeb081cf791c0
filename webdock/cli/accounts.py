"""``webdock user``: accounts of the pages, for who is root on the machine.

The work is done by the web side's own command as the web user: root never opens a file the web user could
have put there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from webdock.cli import instance as instances
from webdock.cli import output
from webdock.cli.errors import Failure
from webdock.cli.serve import chosen, need_root, say

COMMAND_TIMEOUT_S = 120.0

COLUMNS = (("Name", "NAME"), ("Role", "ROLE"), ("State", "STATE"), ("LastLogin", "LAST LOGIN"))


def user_list_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    output.format_option(parser)


def user_list(options: argparse.Namespace) -> int:
    lines = account(options, "list").splitlines()
    rows = [dict(zip((field for field, _ in COLUMNS), line.split("\t"), strict=True)) for line in lines]
    output.emit(COLUMNS, rows, options.format)
    return 0


def user_add_options(parser: argparse.ArgumentParser) -> None:
    name_options(parser)
    parser.add_argument(
        "--role",
        choices=("viewer", "operator", "admin"),
        default="viewer",
        help="viewer looks, operator also starts, stops and opens shells, admin may everything (viewer)",
    )


def user_add(options: argparse.Namespace) -> int:
    account(options, "add", "--role", options.role, f"--name={options.name}", said=ask_password(options.name))
    print(f"{options.name} can log in, as {options.role}")
    return 0


def user_password_options(parser: argparse.ArgumentParser) -> None:
    name_options(parser)


def user_password(options: argparse.Namespace) -> int:
    account(options, "password", f"--name={options.name}", said=ask_password(options.name))
    print(f"{options.name} has a new password; open sessions have ended")
    return 0


def user_disable_options(parser: argparse.ArgumentParser) -> None:
    name_options(parser)


def user_disable(options: argparse.Namespace) -> int:
    account(options, "disable", f"--name={options.name}")
    print(f"{options.name} can no longer log in; `webdock user enable {options.name}` takes that back")
    return 0


def user_enable_options(parser: argparse.ArgumentParser) -> None:
    name_options(parser)


def user_enable(options: argparse.Namespace) -> int:
    account(options, "enable", f"--name={options.name}")
    print(f"{options.name} can log in again")
    return 0


def user_unfactor_options(parser: argparse.ArgumentParser) -> None:
    name_options(parser)


def user_unfactor(options: argparse.Namespace) -> int:
    account(options, "unfactor", f"--name={options.name}")
    print(f"{options.name} logs in with the password alone; open sessions have ended")
    return 0


def name_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("name", metavar="NAME", help="what is typed at the login")


def ask_password(name: str) -> str:
    """Ask twice on a terminal; else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    import getpass

    first = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != first:
        raise Failure("the two passwords differ; nothing was changed")
    return f"{first}\n"


def account(options: argparse.Namespace, *arguments: str, said: str = "") -> str:
    """Ask the accounts; what was printed. Raises: Failure with their words when they refuse."""
    return managed(options, "account", *arguments, said=said)


def managed(options: argparse.Namespace, command: str, *arguments: str, said: str = "") -> str:
    """Run a command of the web side as the web user; what it printed.

    Raises:
        Failure: with its words when it refuses.
    """
    need_root("user")
    from webdock.cli.setup import place_program
    from webdock.cli.up import web_environment
    from webdock.cli.users import as_web_user

    instance = chosen(options)
    if not instance.web_home.is_dir():
        raise Failure(f"there are no accounts in {instance.home} yet: `sudo webdock up` makes them")
    program = place_program(instance, say)
    try:
        done = subprocess.run(
            as_web_user(instance.web_user, [str(program.python), "-I", "-m", "django", command, *arguments]),
            env=web_environment(instance, os.environ),
            cwd="/",
            input=said,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"the accounts did not answer within {COMMAND_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        words = done.stderr.strip().removeprefix("CommandError: ")
        raise Failure(words or f"the web side's command {command} ended with {done.returncode}")
    return done.stdout
