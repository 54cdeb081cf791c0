"""Reads the command line: finds the verb, loads its module only, and turns every failure into one plain line.

A verb is a function ``name(options) -> int`` in one of the modules beside this one, with
``name_options(parser)`` describing its options. Nothing is imported before the verb is known.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any, NoReturn

from webdock.cli.errors import USAGE, Failure

#: What a switch may be told behind its equals sign.
TRUTH = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}

#: verb -> (module, function, one line); "network ls" style verbs are written with a space.
VERBS: dict[str, tuple[str, str, str]] = {
    # containers
    "run": ("run", "run", "Create and start a container, and attach to it"),
    "create": ("run", "create", "Create a container without starting it"),
    "exec": ("run", "exec", "Run a command in a running container"),
    "attach": ("run", "attach", "Attach this terminal to a running container"),
    "start": ("run", "start", "Start containers"),
    "ps": ("containers", "ps", "List containers"),
    "stop": ("containers", "stop", "Stop containers: TERM, wait, KILL"),
    "restart": ("containers", "restart", "Restart containers"),
    "kill": ("containers", "kill", "Send a signal to containers"),
    "pause": ("containers", "pause", "Pause containers"),
    "unpause": ("containers", "unpause", "Let paused containers go on"),
    "rm": ("containers", "rm", "Remove containers"),
    "rename": ("containers", "rename", "Rename a container"),
    "update": ("containers", "update", "Change limits and the restart policy of containers"),
    "wait": ("containers", "wait", "Wait until containers stop, then print their exit codes"),
    "port": ("containers", "port", "List a container's published ports"),
    "top": ("containers", "top", "Show the processes of a container"),
    "logs": ("watch", "logs", "Show the logs of a container"),
    "stats": ("watch", "stats", "Show live use of processor, memory, network and disk"),
    "events": ("watch", "events", "Show what happens, as it happens"),
    "diff": ("files", "diff", "List what a container changed in its file system"),
    "cp": ("files", "cp", "Copy files between a container and this machine"),
    "export": ("files", "export", "Write a container's file system as a tar archive"),
    # images
    "images": ("images", "images", "List images"),
    "pull": ("images", "pull", "Fetch an image from a registry"),
    "push": ("images", "push", "Send an image to a registry"),
    "tag": ("images", "tag", "Give an image another name"),
    "rmi": ("images", "rmi", "Remove images"),
    "history": ("images", "history", "Show how an image was made"),
    "save": ("archives", "save", "Write images as a tar archive"),
    "load": ("archives", "load", "Read images from a tar archive"),
    "import": ("archives", "import_", "Make an image of a file system archive"),
    "commit": ("images", "commit", "Make an image of a container's changes"),
    "login": ("images", "login", "Check and remember the credentials of a registry"),
    "logout": ("images", "logout", "Forget the credentials of a registry"),
    # networks and volumes
    "network ls": ("resources", "network_ls", "List networks"),
    "network create": ("resources", "network_create", "Create a network"),
    "network rm": ("resources", "network_rm", "Remove networks"),
    "network inspect": ("resources", "network_inspect", "Show everything about networks"),
    "network connect": ("resources", "network_connect", "Connect a container to a network"),
    "network disconnect": ("resources", "network_disconnect", "Disconnect a container from a network"),
    "network prune": ("disk", "network_prune", "Remove networks nobody uses"),
    "volume ls": ("resources", "volume_ls", "List volumes"),
    "volume create": ("resources", "volume_create", "Create a volume"),
    "volume rm": ("resources", "volume_rm", "Remove volumes"),
    "volume inspect": ("resources", "volume_inspect", "Show everything about volumes"),
    "volume prune": ("disk", "volume_prune", "Remove volumes nobody uses"),
    "volume export": ("volumes", "volume_export", "Write the files of a volume as a tar archive"),
    "volume import": ("volumes", "volume_import", "Unpack a tar archive into a volume"),
    "volume clone": ("volumes", "volume_clone", "Make a volume with the files of another"),
    # the engine
    "inspect": ("system", "inspect", "Show everything about containers, images, networks or volumes"),
    "version": ("system", "version", "Show the versions of this command and the engine"),
    "info": ("system", "info", "Show what the engine runs on and how much it holds"),
    "df": ("disk", "df", "Show how much disk images, containers and volumes use"),
    "container prune": ("disk", "container_prune", "Remove stopped containers"),
    "image prune": ("disk", "image_prune", "Remove images without a name"),
    "prune": ("disk", "prune", "Remove stopped containers, unused networks and nameless images"),
    "completion": ("completion", "completion", "Print the script that completes words in bash, zsh or fish"),
    "complete": ("completion", "complete", "What completion asks; prints what a word can become"),
    # this installation
    "up": ("up", "up", "Start engine and web on this machine and keep them running"),
    "down": ("down", "down", "Stop engine and web; containers keep running"),
    "ready": ("services", "ready", "Wait for the services, then print the address and the first link"),
    "status": ("serve", "status", "Show whether engine and web run"),
    "check": ("serve", "check", "Say what this machine lacks to run containers"),
    "doctor": ("doctor", "doctor", "Say what is wrong with this installation, and what helps"),
    "backup": ("backup", "backup", "Write accounts, configuration and volumes as one archive"),
    "restore": ("backup", "restore", "Fill an empty home from such an archive"),
    "user list": ("accounts", "user_list", "List the accounts of the pages"),
    "user add": ("accounts", "user_add", "Add an account; its password is asked for, or read from a pipe"),
    "user password": ("accounts", "user_password", "Give an account a new password; its sessions end"),
    "user disable": ("accounts", "user_disable", "Keep an account from logging in; its sessions end"),
    "user unfactor": ("accounts", "user_unfactor", "Take away a second factor; its sessions end"),
    "user enable": ("accounts", "user_enable", "Let a disabled account log in again"),
    "policy explain": ("policy", "policy_explain", "Say whether the dashboard's socket would take a request"),
    "audit compare": ("audit", "audit_compare", "Compare the engine's own log with the pages' audit log"),
    "engine": ("serve", "engine", "Run the engine in the foreground (root)"),
    "web": ("serve", "web", "Run the web dashboard in the foreground"),
}

#: Docker's longer spellings of the same verbs.
ALIASES = {
    "network list": "network ls",
    "network remove": "network rm",
    "user ls": "user list",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "container ls": "ps",
    "container list": "ps",
    "container inspect": "inspect",
    "image ls": "images",
    "image list": "images",
    "image rm": "rmi",
    "image inspect": "inspect",
    "system df": "df",
    "system info": "info",
    "system prune": "prune",
    "system events": "events",
}
for _noun, _verbs in {
    "container": "run create exec attach start stop restart kill pause unpause rm rename update "
    "wait port top logs stats diff cp export commit",
    "image": "pull push tag history save load import",
}.items():
    ALIASES.update({f"{_noun} {_verb}": _verb for _verb in _verbs.split()})

NOUNS = ("network", "volume", "container", "image", "system", "user", "policy", "audit")

SECTIONS = (
    (
        "Containers",
        "run create exec attach start ps stop restart kill pause unpause rm rename update wait port top logs "
        "stats events diff cp export commit",
    ),
    ("Images", "images pull push tag rmi history save load import login logout"),
    ("Resources", "network volume prune df"),
    ("Engine", "inspect version info completion"),
    ("This machine", "up down ready status check doctor user policy audit backup restore engine web"),
)


class Parser(argparse.ArgumentParser):
    """An argument parser that speaks in one line and leaves ``-h`` to the verbs (a container's host name)."""

    def __init__(self, verb: str, text: str) -> None:
        super().__init__(prog=f"webdock {verb}", description=text, add_help=False, allow_abbrev=False)
        self.add_argument("--help", action="help", help="show this and exit")

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\nSee '{self.prog} --help'.\n")
        raise SystemExit(USAGE)

    def _parse_optional(self, arg_string: str) -> Any:
        """``--rm=false``: a switch takes a truth value behind an equals sign, as Go's flags do."""
        name, equals, value = arg_string.partition("=")
        action = self._option_string_actions.get(name) if equals else None
        if not isinstance(action, argparse._StoreTrueAction):
            return super()._parse_optional(arg_string)
        if value.lower() not in TRUTH:
            self.error(f"argument {name}: {value!r} is neither true nor false")
        said = argparse._StoreConstAction([name], action.dest, TRUTH[value.lower()])
        found: Any = super()._parse_optional(name)  # a tuple, or since Python 3.12.3 a list of them
        return [(said, *one[1:]) for one in found] if isinstance(found, list) else (said, *found[1:])

    def _get_nargs_pattern(self, action: argparse.Action) -> str:
        """``run IMAGE -- x``: behind the image everything is the command's, ``--`` too."""
        pattern = super()._get_nargs_pattern(action)
        everything = any(one.nargs == argparse.REMAINDER for one in self._get_positional_actions())
        return "(-*A)" if everything and action.nargs is None and not action.option_strings else pattern


def run(argv: list[str]) -> int:
    """Run one command line; the exit code says how it went. Never raises but for a broken program."""
    try:
        return dispatch(argv)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; say nothing, and keep Python from saying it at exit.
        silence_output()
        return 141
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"webdock: {place}{error.strerror or error}\n")
        silence_output()
        return 1
    except Failure as failure:
        sys.stdout.flush()
        sys.stderr.write(f"webdock: {failure}\n")
        return failure.code


def silence_output() -> None:
    """Standard output has failed: what is still buffered for it must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def dispatch(argv: list[str]) -> int:
    """Find the verb, parse its options, call it."""
    host, rest = split_globals(argv)
    if not rest or rest[0] in ("--help", "-h", "help"):
        if len(rest) > 1 and rest[0] == "help":
            rest = [*rest[1:], "--help"]
        else:
            sys.stdout.write(overview())
            return 0
    if rest[0] in ("--version", "-v"):
        sys.stdout.write(f"webdock {program_version()}\n")
        return 0
    verb, options = split_verb(rest)
    module_name, function, text = VERBS[verb]
    module = importlib.import_module(f"webdock.cli.{module_name}")
    parser = Parser(verb, text)
    getattr(module, f"{function}_options")(parser)
    parser.usage = short_usage(parser)
    parsed = parser.parse_args(options)
    parsed.host = host
    code = getattr(module, function)(parsed)
    sys.stdout.flush()
    return int(code or 0)


def short_usage(parser: argparse.ArgumentParser) -> str:
    """``webdock run [OPTIONS] IMAGE [COMMAND …]``: the options are listed below it anyway."""
    words = [parser.prog, "[OPTIONS]"]
    for action in parser._get_positional_actions():
        if action.help is argparse.SUPPRESS:
            continue
        name = str(action.metavar or action.dest.upper())
        if action.nargs == "+":
            name = f"{name} [{name}…]"
        elif action.nargs in ("?", "*", argparse.REMAINDER):
            name = f"[{name}{'…' if action.nargs == '*' else ''}]"
        words.append(name)
    return " ".join(words).replace("%", "%%")


def split_globals(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take ``-H HOST``, ``--host HOST`` and ``--host=HOST`` off the front."""
    host = None
    rest = list(argv)
    while rest and (rest[0] in ("-H", "--host") or rest[0].startswith("--host=")):
        first = rest.pop(0)
        if "=" in first:
            host = first.partition("=")[2]
        elif rest:
            host = rest.pop(0)
        else:
            usage_error(f"{first} needs an address")
    return host, rest


def split_verb(rest: list[str]) -> tuple[str, list[str]]:
    """Resolve the verb, aliases and two-word verbs; unknown ones end with a hint."""
    first = rest[0]
    if first.startswith("-"):
        usage_error(f"unknown option {first}; options of a command stand after it")
    if first in NOUNS:
        if len(rest) == 1 or rest[1] in ("--help", "-h"):
            sys.stdout.write(noun_overview(first))
            raise SystemExit(0)
        both = f"{first} {rest[1]}"
        both = ALIASES.get(both, both)
        if both in VERBS:
            return both, rest[2:]
        usage_error(f"{first} has no command {rest[1]!r}")
    if first in VERBS:
        return first, rest[1:]
    import difflib

    near = difflib.get_close_matches(first, VERBS, 1)
    usage_error(f"there is no command {first!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def usage_error(text: str) -> NoReturn:
    sys.stderr.write(f"webdock: {text}\nSee 'webdock --help'.\n")
    raise SystemExit(USAGE)


def overview() -> str:
    """The text of ``webdock --help``."""
    lines = [
        "Usage: webdock [--host ENGINE] COMMAND [OPTIONS]",
        "",
        "Runs containers, and shows them in a browser.",
        "",
    ]
    nouns = {
        "network": "Manage networks",
        "volume": "Manage volumes",
        "user": "Manage accounts of the pages",
        "audit": "Compare what the pages and the engine wrote down",
        "policy": "Ask what the dashboard's socket would take",
    }
    for title, names in SECTIONS:
        lines.append(f"{title}:")
        lines += [f"  {name:<10} {nouns.get(name) or VERBS[name][2]}" for name in names.split()]
        lines.append("")
    lines.append("'webdock COMMAND --help' shows a command's options.")
    return "\n".join(lines) + "\n"


def noun_overview(noun: str) -> str:
    """The text of ``webdock network`` and its like."""
    lines = [f"Usage: webdock {noun} COMMAND", ""]
    spellings = {f"{v}": v for v in VERBS} | ALIASES
    for spelling, verb in sorted(spellings.items()):
        if spelling.startswith(f"{noun} "):
            lines.append(f"  {spelling.partition(' ')[2]:<12} {VERBS[verb][2]}")
    return "\n".join(lines) + "\n"


def program_version() -> str:
    """The version of this program; the changelog's and pyproject's are the same."""
    from webdock import __version__

    return __version__
