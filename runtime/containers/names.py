"""Names and ids of containers: which are allowed, and made-up ones; pure but for chance.

Spec: Docker API 1.47, ContainerCreate `name`.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Container

from runtime.api.errors import InvalidArgument

TRIES = 6  # of plain names before a number is added
SHORT_LENGTH = 12  # of an id; the host name of who was given none
NAME_LENGTH = 253  # longest; as a DNS name it must fit anyway

_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]+$")

_QUALITIES = (  # noqa: SIM905
    "able agile amber awake bold brave brisk bright busy calm candid clever cosy crisp curious daring "
    "dapper deft eager early easy fair fast fearless fine fleet fond frank free fresh frosty gentle "
    "glad golden grand handy happy hardy hearty honest jolly jovial keen kind lively loyal lucid "
    "lucky mellow merry mighty mild modest neat nimble noble patient placid plucky polite prime proud "
    "quick quiet rapid ready robust rosy serene sharp shiny silent simple sleek smart snug sober "
    "solid spry steady sunny sure swift tender tidy tranquil trusty upbeat valiant vivid warm wise "
    "witty zesty"
).split()
_THINGS = (  # noqa: SIM905
    "anchor barge beacon bollard bowsprit breeze brig buoy cable canal capstan captain cargo chart "
    "coast compass coral crane crew current cutter deck delta dinghy dock dolphin estuary ferry fjord "
    "foghorn frigate galley gangway gull gunwale halyard harbour hatch hawser heron hull island jetty "
    "kayak keel ketch knot lagoon lantern ledger lighthouse lock lugger marina mast mooring narwhal "
    "oar otter packet pelican pier pilot porthole puffin quay raft rigging rope rudder sail schooner "
    "seal sextant shore skiff sloop spar strait tackle tide tiller trawler tug voyage walrus wharf "
    "winch yacht"
).split()


def clean_name(name: str) -> str:
    """The name without its slash. Raises: InvalidArgument in Docker's words."""
    plain = name.removeprefix("/")
    if not _NAME.fullmatch(plain) or len(plain) > NAME_LENGTH:
        raise InvalidArgument(
            f"Invalid container name ({name[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return plain


def make_up(taken: Container[str]) -> str:
    """A free name such as "brisk_lighthouse"."""
    for attempt in range(1000):
        name = f"{random.choice(_QUALITIES)}_{random.choice(_THINGS)}"  # noqa: S311 - names are no secrets
        if attempt >= TRIES:
            name += str(random.randrange(10 ** (attempt // TRIES)))  # noqa: S311
        if name not in taken:
            return name
    raise InvalidArgument("no free name could be made up; give one")


def new_id() -> str:
    """64 hexadecimal digits, among the first twelve a letter.

    A host name of digits alone is taken for an IPv4 address by resolvers, which then look it up nowhere.
    """
    while (id := secrets.token_hex(32))[:SHORT_LENGTH].isdecimal():
        pass
    return id
