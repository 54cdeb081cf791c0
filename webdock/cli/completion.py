"""Completion: ``completion SHELL`` prints a script for bash, zsh or fish, which asks ``complete`` at each
Tab.

What can come next is read off the same tables and parsers that run the verbs; names come from the engine, and
none when it does not answer.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence

from webdock.cli.command import ALIASES, NOUNS, VERBS, Parser
from webdock.cli.errors import Failure
from webdock.cli.http import Client, find_host

SCRIPTS = {
    "bash": """\
_webdock() {
    local IFS=$'\\n'
    COMPREPLY=($(webdock complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _webdock webdock
""",
    "zsh": """\
#compdef webdock
_webdock() {
    local -a found
    found=("${(@f)$(webdock complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- $found
}
compdef _webdock webdock
""",
    "fish": """\
complete -c webdock -f -a '(webdock complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}

#: What a positional of this name stands for.
KINDS = {
    "container": "container",
    "containers": "container",
    "image": "image",
    "images": "image",
    "network": "network",
    "volume": "volume",
    "names": "any",
}


def completion_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(SCRIPTS), metavar="SHELL", help=", ".join(sorted(SCRIPTS)))


def completion(options: argparse.Namespace) -> int:
    """Print the script; ``source <(webdock completion bash)`` puts it to work."""
    print(SCRIPTS[options.shell], end="")
    return 0


def complete_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def complete(options: argparse.Namespace) -> int:
    """Print what the last word can become, one a line."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    for candidate in candidates(words, options.host):
        print(candidate)
    return 0


def candidates(words: Sequence[str], host: str | None) -> Iterator[str]:
    """Everything the last of ``words`` (it may be empty) can be completed to, sorted."""
    *before, last = words or [""]
    found: set[str]
    if not before:
        found = {*(verb.split()[0] for verb in VERBS), *NOUNS}
    elif len(before) == 1 and before[0] in NOUNS:
        found = {verb.split()[1] for verb in (*VERBS, *ALIASES) if verb.startswith(f"{before[0]} ")}
    else:
        found = set(arguments(before, last, host))
    yield from sorted(word for word in found if word.startswith(last) and word != "complete")


def arguments(before: Sequence[str], last: str, host: str | None) -> Iterator[str]:
    """Options or names that fit a verb."""
    verb = " ".join(before[:2]) if before[0] in NOUNS else before[0]
    verb = ALIASES.get(verb, verb)
    if verb not in VERBS:
        return
    module, function, text = VERBS[verb]
    parser = Parser(verb, text)
    getattr(importlib.import_module(f"webdock.cli.{module}"), f"{function}_options")(parser)
    if last.startswith("-"):
        for action in parser._actions:
            if action.help != argparse.SUPPRESS:
                yield from action.option_strings
        return
    for action in parser._get_positional_actions():
        if action.choices:
            yield from map(str, action.choices)
            return
        noun = verb.split()[0] if action.dest == "names" and verb != "inspect" else action.dest
        if kind := KINDS.get(noun):
            yield from names(kind, Client(host or find_host(os.environ)))
            return


def names(kind: str, client: Client) -> Iterator[str]:
    """The names an engine knows; nothing when it does not answer, as nobody wants an error at a Tab."""
    try:
        if kind in ("container", "any"):
            for container in client.get("/containers/json", {"all": True}):
                yield container["Names"][0].removeprefix("/")
        if kind in ("image", "any"):
            for image in client.get("/images/json"):
                yield from image.get("RepoTags") or ()
        if kind == "network":
            yield from (network["Name"] for network in client.get("/networks"))
        if kind == "volume":
            yield from (volume["Name"] for volume in client.get("/volumes").get("Volumes") or ())
    except Failure:
        return
