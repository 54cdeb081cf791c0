"""Which installation a server verb means: directories, address and the files inside them; pure but for
``owner``.

Two instances with different homes, runs and addresses share nothing, so everything is derived from these
three.
"""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.api import instances as names

DEFAULT_HOME = str(names.DEFAULT_HOME)
DEFAULT_RUN = "/run/webdock"
DEFAULT_LISTEN = "127.0.0.1:8000"
DEFAULT_CONFIG = "/etc/webdock/engine.toml"


class ListenError(ValueError):
    """An address that cannot be listened on, said in plain words."""


def parse_listen(text: str) -> tuple[str, int]:
    """Split ``127.0.0.1:8000``, ``[::1]:8000``, ``:8000`` or ``8000`` into host and port.

    Raises:
        ListenError: for anything else.
    """
    host, separator, port_text = text.rpartition(":")
    if not separator:
        host, port_text = "127.0.0.1", text
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(f"{text!r}: an IPv6 address is written in brackets, like [::1]:8000")
    if not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise ListenError(
            f"{text!r} is no address: write ADDRESS:PORT, like {DEFAULT_LISTEN}, ports are 1 to 65535"
        )
    return host or "0.0.0.0", int(port_text)  # noqa: S104 - only when the text names no host


@dataclass(frozen=True)
class Instance:
    """One installation's places; paths are absolute."""

    home: Path  # state that survives a reboot: engine/, web/, log/, app/
    run: Path  # sockets and locks, gone with a reboot
    listen: str  # as given; ``address`` is it parsed
    config: Path | None  # engine.toml; None for the default place, where it need not exist

    @property
    def address(self) -> tuple[str, int]:
        return parse_listen(self.listen)

    @property
    def engine_home(self) -> Path:
        return self.home / "engine"

    @property
    def web_user(self) -> str:
        """Who the web side runs as, user and group: may open web.sock and what is below ``web_home``."""
        return names.instance_name(self.engine_home)

    @property
    def web_home(self) -> Path:
        return self.home / "web"

    @property
    def log_home(self) -> Path:
        return self.home / "log"

    @property
    def app_home(self) -> Path:
        return self.home / "app"

    @property
    def engine_socket(self) -> Path:
        return self.run / "engine.sock"

    @property
    def web_socket(self) -> Path:
        return self.run / "web.sock"

    @property
    def home_lock(self) -> Path:
        return self.home / "up.lock"

    @property
    def run_lock(self) -> Path:
        return self.run / "up.lock"

    @property
    def url(self) -> str:
        """Where a browser finds the pages; an address that means "all" is shown as this machine's name."""
        host, port = self.address
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = socket.gethostname()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def local_url(self) -> str:
        """The same pages as seen from this machine: what readiness is asked at."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of a child: ``base`` with this instance's variables put over it."""
        values = dict(base)
        values.update(WEBDOCK_HOME=str(self.home), WEBDOCK_RUN=str(self.run), WEBDOCK_LISTEN=self.listen)
        values.pop("WEBDOCK_CONFIG", None)
        if self.config:
            values["WEBDOCK_CONFIG"] = str(self.config)  # named, so it must exist
        return values

    def owner(self) -> dict[str, object] | None:
        """What the supervisor that holds this home wrote about itself; None when nothing is there."""
        try:
            content = json.loads(self.home_lock.read_text())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that name an instance; each has a variable of the same name."""
    parser.add_argument("--home", metavar="DIR", help=f"state directory (WEBDOCK_HOME, {DEFAULT_HOME})")
    parser.add_argument("--run", metavar="DIR", help=f"socket directory (WEBDOCK_RUN, {DEFAULT_RUN})")
    parser.add_argument(
        "--listen", metavar="ADDRESS:PORT", help=f"where the pages are (WEBDOCK_LISTEN, {DEFAULT_LISTEN})"
    )
    parser.add_argument(
        "--config", metavar="FILE", help=f"engine configuration (WEBDOCK_CONFIG, {DEFAULT_CONFIG})"
    )


def from_options(options: argparse.Namespace, environ: Mapping[str, str]) -> Instance:
    """Flags first, then variables, then defaults.

    Raises:
        ListenError: when the address is none.
    """

    def pick(name: str, default: str = "") -> str:
        return getattr(options, name, None) or environ.get(f"WEBDOCK_{name.upper()}") or default

    listen = pick("listen", DEFAULT_LISTEN)
    parse_listen(listen)
    return Instance(
        home=Path(pick("home", DEFAULT_HOME)).absolute(),
        run=Path(pick("run", DEFAULT_RUN)).absolute(),
        listen=listen,
        config=Path(pick("config")).absolute() if pick("config") else None,
    )
