"""The part of Go's text/template that people use with ``--format``: fields, pipelines, blocks, functions.

Pure: a text and JSON values in, a text out. It executes nothing but the functions of ``functions.py``.

Spec: Go text/template (Actions, Pipelines). Differs: no define/template/block, no method calls but
``.Label "key"``, and names are also found when only their letter case differs, since Docker's fields and
JSON keys sometimes do (``.ID`` and ``Id``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webdock.cli.errors import Failure
from webdock.cli.functions import FUNCTIONS, MISSING, show, truth

NESTING_MAX = 100


class TemplateError(Failure):
    """A template that cannot be read or does not fit the data."""

    def __init__(self, message: str) -> None:
        super().__init__(f"template: {message}", 64)


_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s+|(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)
    |(?P<path>\$?(?:\.\w+)+|\$\w*|\.)|(?P<word>[A-Za-z_]\w*)|(?P<sign>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)

Token = tuple[str, str]


@dataclass
class Node:
    """One piece of a parsed template; ``body`` and ``otherwise`` belong to if, range and with."""

    kind: str  # "text", "put", "set", "if", "range", "with"
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


# -- parsing -------------------------------------------------------------------------------------------------


def parse(text: str) -> list[Node]:
    """Read a template.

    Raises:
        TemplateError: for an unknown action, an unclosed block or a sign that makes no sense.
    """
    pieces = list(split(text))
    nodes, rest, closing = block(pieces, 0, 0)
    if closing:
        raise TemplateError(f"{{{{{closing}}}}} without a block before it")
    assert rest == len(pieces)
    return nodes


def split(text: str) -> Iterator[tuple[bool, str]]:
    """Cut into (is action, text) pieces; ``{{-`` and ``-}}`` eat the white space beside them."""
    at = 0
    trim = False
    for match in _ACTION.finditer(text):
        before = text[at : match.start()]
        if trim:
            before = before.lstrip()
        if match[1]:
            before = before.rstrip()
        yield False, before
        yield True, match[2].strip()
        trim, at = bool(match[3]), match.end()
    rest = text[at:]
    if "{{" in rest:
        raise TemplateError("an action is not closed: }} is missing")
    yield False, rest.lstrip() if trim else rest


def block(pieces: list[tuple[bool, str]], at: int, depth: int) -> tuple[list[Node], int, str]:
    """Parse until the end, or the ``end`` or ``else`` that closes: nodes, position, what closed."""
    if depth > NESTING_MAX:
        raise TemplateError(f"more than {NESTING_MAX} blocks in each other")
    nodes: list[Node] = []
    while at < len(pieces):
        is_action, text = pieces[at]
        at += 1
        if not is_action:
            if text:
                nodes.append(Node("text", text=text))
            continue
        if text.startswith("/*"):
            continue
        word, _, rest = text.partition(" ")
        if word == "end" or word == "else":
            return nodes, at, text
        if word in ("if", "range", "with"):
            node, at = compound(word, rest, pieces, at, depth)
            nodes.append(node)
        else:
            tokens = tokenize(text)
            kind = "set" if len(tokens) > 2 and tokens[1] in (("sign", ":="), ("sign", "=")) else "put"
            nodes.append(Node(kind, tokens=tokens))
    return nodes, at, ""


def compound(
    word: str, condition: str, pieces: list[tuple[bool, str]], at: int, depth: int
) -> tuple[Node, int]:
    """Parse if, range or with up to its ``end``."""
    node = Node(word, tokens=tokenize(condition))
    node.body, at, closing = block(pieces, at, depth + 1)
    if closing.startswith("else"):
        _, _, more = closing.partition(" ")
        kind, _, condition = more.strip().partition(" ")
        if kind in ("if", "with"):
            inner, at = compound(kind, condition, pieces, at, depth + 1)
            node.otherwise = [inner]
            return node, at
        node.otherwise, at, closing = block(pieces, at, depth + 1)
    if closing != "end":
        raise TemplateError(f"{{{{{word}}}}} is not closed: {{{{end}}}} is missing")
    return node, at


def tokenize(text: str) -> list[Token]:
    """``.Names | join ","`` -> path, sign, word, string."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"{text[at:]!r} is not understood in {{{{{text}}}}}")
        kind = match.lastgroup
        if kind == "path" and tokens and tokens[-1] == ("sign", ")") and text[at - 1] == ")":
            kind = "chain"  # (index .Ports 0).PublicPort
        if kind:
            tokens.append((kind, match[0]))
        at = match.end()
    if not tokens:
        raise TemplateError("an empty action")
    return tokens


# -- running -------------------------------------------------------------------------------------------------


def render(nodes: Sequence[Node], data: Any, *, strict: bool = False) -> str:
    """Fill a template with ``data``; ``strict`` makes unknown names an error, as ``docker inspect`` does."""
    out: list[str] = []
    Runner(data, strict).run(nodes, data, {"$": data}, out)
    return "".join(out)


class Runner:
    """One run of a template."""

    def __init__(self, root: Any, strict: bool) -> None:
        self.root, self.strict = root, strict

    def run(self, nodes: Sequence[Node], dot: Any, variables: dict[str, Any], out: list[str]) -> None:
        for node in nodes:
            if node.kind == "text":
                out.append(node.text)
            elif node.kind == "put":
                out.append(show(self.pipeline(node.tokens, dot, variables)))
            elif node.kind == "set":
                variables[node.tokens[0][1]] = self.pipeline(node.tokens[2:], dot, variables)
            elif node.kind == "range":
                self.loop(node, dot, variables, out)
            else:
                value = self.pipeline(node.tokens, dot, variables)
                inner = value if node.kind == "with" else dot
                if truth(value):
                    self.run(node.body, inner, dict(variables), out)
                else:
                    self.run(node.otherwise, dot, dict(variables), out)

    def loop(self, node: Node, dot: Any, variables: dict[str, Any], out: list[str]) -> None:
        names: list[str] = []
        tokens = node.tokens
        if ("sign", ":=") in tokens:
            cut = tokens.index(("sign", ":="))
            names = [text for kind, text in tokens[:cut] if kind == "path"]
            tokens = tokens[cut + 1 :]
        value = self.pipeline(tokens, dot, variables)
        items: list[tuple[Any, Any]]
        if isinstance(value, Mapping):
            items = sorted(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            items = list(enumerate(value))
        elif not truth(value):
            items = []
        else:
            raise TemplateError(f"range over {show(value)}, which is no list")
        for key, item in items:
            inner = dict(variables)
            if len(names) == 2:
                inner.update({names[0]: key, names[1]: item})
            elif names:
                inner[names[0]] = item
            self.run(node.body, item, inner, out)
        if not items:
            self.run(node.otherwise, dot, dict(variables), out)

    def pipeline(self, tokens: Sequence[Token], dot: Any, variables: dict[str, Any]) -> Any:
        """``a b | f c``: each command's value becomes the last argument of the next one."""
        value: Any = None
        first = True
        for words in split_on_pipe(tokens):
            value = self.command(words, dot, variables, [] if first else [value])
            first = False
        return value

    def command(self, tokens: Sequence[Token], dot: Any, variables: dict[str, Any], piped: list[Any]) -> Any:
        arguments: list[Any] = []
        name = ""
        at = 0
        while at < len(tokens):
            kind, text = tokens[at]
            if kind == "sign" and text == "(":
                end = closing_bracket(tokens, at)
                value = self.pipeline(tokens[at + 1 : end], dot, variables)
                at = end + 1
                if at < len(tokens) and tokens[at][0] == "chain":
                    for part in tokens[at][1].split(".")[1:]:
                        value = lookup(value, part, self.strict)
                    at += 1
                arguments.append(value)
                continue
            is_function = kind == "word" and text not in ("true", "false", "nil")
            if at == 0 and (is_function or (text == ".Label" and len(tokens) > 1)):
                name = text
            else:
                arguments.append(self.value(kind, text, dot, variables))
            at += 1
        arguments += piped
        if not name:
            if len(arguments) != 1:
                raise TemplateError("a value takes no arguments; is a function's name missing?")
            return arguments[0]
        if name == ".Label":
            labels = lookup(dot, "LabelMap", False) or {}
            return labels.get(arguments[0], "")
        if name not in FUNCTIONS:
            raise TemplateError(f"there is no function {name!r}")
        try:
            return FUNCTIONS[name](*arguments)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise TemplateError(f"{name}: {error}") from None

    def value(self, kind: str, text: str, dot: Any, variables: dict[str, Any]) -> Any:
        if kind == "string":
            return text[1:-1] if text[0] == "`" else json.loads(text)
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "word":
            if text in ("true", "false", "nil"):
                return {"true": True, "false": False, "nil": None}[text]
            raise TemplateError(f"{text!r} stands where a value should; text is written in quotes")
        if kind != "path":
            raise TemplateError(f"{text!r} is not expected there")
        if text == ".":
            return dot
        if text.startswith("$"):
            variable, *names = text.split(".")
            if variable not in variables:
                raise TemplateError(f"the variable {variable} is not set")
            value = variables[variable]
        else:
            names = text.split(".")[1:]
            value = dot
        for name in names:
            value = lookup(value, name, self.strict)
        return value


def lookup(value: Any, name: str, strict: bool) -> Any:
    """A key of a mapping, exactly or else in another letter case."""
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        folded = name.lower()
        for key in value:
            if isinstance(key, str) and key.lower() == folded:
                return value[key]
        if strict:
            raise TemplateError(f"there is no field {name!r}")
    elif strict and value is not None:
        raise TemplateError(f"there is no field {name!r} in {show(value)}")
    return MISSING


def split_on_pipe(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    depth = start = 0
    for at, (kind, text) in enumerate(tokens):
        if kind == "sign":
            depth += {"(": 1, ")": -1}.get(text, 0)
            if text == "|" and depth == 0:
                yield tokens[start:at]
                start = at + 1
    if depth or start == len(tokens):
        raise TemplateError("a bracket is not closed, or nothing stands after |")
    yield tokens[start:]


def closing_bracket(tokens: Sequence[Token], at: int) -> int:
    depth = 0
    for position in range(at, len(tokens)):
        depth += {("sign", "("): 1, ("sign", ")"): -1}.get(tokens[position], 0)
        if depth == 0:
            return position
    raise TemplateError("a bracket is not closed")
