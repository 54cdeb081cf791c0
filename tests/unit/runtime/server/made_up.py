"""Bodies made of nothing but the types the engine decodes: a field is tried as soon as it is there."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from runtime.api.types import WORDS

NUMBERS = (-1, 0, 1, 2, 1000, 1 << 20, 1 << 27, 1 << 40)


@functools.cache
def fields_of(kind: Any) -> dict[str, Any]:
    """The fields of a TypedDict with their types; none for anything else."""
    return get_type_hints(kind, include_extras=True) if is_typeddict(kind) else {}


def tables_in(kind: Any) -> Iterator[Any]:
    """Every TypedDict a value of this type may hold, itself included."""
    if is_typeddict(kind):
        yield kind
        for one in fields_of(kind).values():
            yield from tables_in(one)
    else:
        for one in get_args(kind):
            yield from tables_in(one)


class Maker:
    """Makes values of a type; texts are drawn from a list, mostly of a spiteful kind."""

    def __init__(self, chance: random.Random, texts: list[str]) -> None:
        self._chance, self._texts = chance, texts
        self.made: set[tuple[str, str]] = set()  # names of TypedDicts and their fields

    def value(self, kind: Any) -> Any:
        chance = self._chance
        if is_typeddict(kind):
            known = fields_of(kind)
            chosen = chance.sample(sorted(known), min(len(known), chance.choice((1, 1, 1, 2, 2, 3))))
            self.made |= {(kind.__name__, name) for name in chosen}
            return {name: self.value(known[name]) for name in chosen}
        if kind is bool:
            return chance.random() < 0.5
        if kind is int:
            return chance.choice(NUMBERS)
        if kind is str or kind is Any:
            return chance.choice(self._texts)
        if getattr(kind, "__metadata__", ()) == (WORDS,) or get_origin(kind) is list:
            inner = str if hasattr(kind, "__metadata__") else get_args(kind)[0]
            return [self.value(inner) for _n in range(chance.randrange(3))]
        assert get_origin(kind) is dict, f"no value is known for {kind}"
        return {self.value(str): self.value(get_args(kind)[1]) for _n in range(chance.randrange(3))}
