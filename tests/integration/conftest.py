"""Fixtures of the integration ring: a whole installation, a real Docker beside it, terminals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation
from tests.integration.pty_session import PtySession
from tests.integration.registry import RealRegistry


def pytest_sessionstart() -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("the integration ring needs root; run it with: sudo scripts/test integration")


@pytest.fixture(scope="session")
def registry() -> Iterator[RealRegistry]:
    """A registry that speaks plain HTTP on loopback."""
    server = RealRegistry()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def installed(registry: RealRegistry) -> Iterator[Installation]:
    """One installation for the whole run, which may pull from the registry; its purge must leave nothing."""
    installation = Installation("test", config=registry_config(registry))
    installation.up()
    yield installation
    installation.purge()


DEAD_REGISTRY = "127.0.0.1:1"  # an address where nobody listens


def registry_config(registry: RealRegistry) -> str:
    """The lines of engine.toml that let an engine use the registry, and try the dead one, without TLS."""
    hosts = (registry.host, DEAD_REGISTRY)
    return "".join(f'[registries."{host}"]\ninsecure = true\nlocal = true\n' for host in hosts)


@pytest.fixture
def installation(installed: Installation) -> Iterator[Installation]:
    """The installation, without containers before and after."""
    installed.remove_containers()
    yield installed
    installed.remove_containers()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """A real Docker engine."""
    peer = Dockerd()
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()


@pytest.fixture
def terminal(installation: Installation) -> Iterator[Callable[..., PtySession]]:
    """A factory of commands on a terminal, with the installation's environment."""
    sessions: list[PtySession] = []

    def open_terminal(*argv: str, rows: int = 24, columns: int = 80) -> PtySession:
        environ = {**installation.environ, "TERM": "xterm-256color"}
        session = PtySession(argv, environ, rows=rows, columns=columns)
        sessions.append(session)
        return session

    yield open_terminal
    for session in sessions:
        session.__exit__(None, None, None)
