"""Credentials of registries: ours in ``~/.config/webdock/credentials.json`` (0600), and those docker
remembers.

It sends nothing and checks nothing. Docker's credential helpers are asked, never written to.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webdock.cli.errors import Failure

DOCKER_HUB = "https://index.docker.io/v1/"  # the name under which Docker Hub's credentials are kept
HELPER_TIMEOUT_S = 20


def own_file(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base, "webdock", "credentials.json")


def docker_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def registry_of(reference: str) -> str:
    """The registry a reference names: ``localhost:5000/a/b:1`` -> ``localhost:5000``, else DOCKER_HUB."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB if first in ("docker.io", "index.docker.io") else first
    return DOCKER_HUB


def load(path: Path) -> dict[str, Any]:
    """A file of credentials, empty when there is none.

    Raises:
        Failure: when it is there and cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(f"the credentials in {path} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}


def find(registry: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """What is known for a registry as an AuthConfig, None when nothing is."""
    for path in (own_file(environ), docker_file(environ)):
        content = load(path)
        entry = (content.get("auths") or {}).get(registry)
        helper = (content.get("credHelpers") or {}).get(registry) or content.get("credsStore")
        if isinstance(entry, dict) and entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return {"username": user, "password": password, "serveraddress": registry}
        if isinstance(entry, dict) and entry.get("identitytoken"):
            return {"identitytoken": entry["identitytoken"], "serveraddress": registry}
        if helper and (answer := ask_helper(str(helper), registry)):
            return answer
    return None


def ask_helper(name: str, registry: str) -> dict[str, str] | None:
    """Ask ``docker-credential-NAME``; None when it knows nothing or is not there."""
    try:
        done = subprocess.run(
            [f"docker-credential-{name}", "get"],
            input=registry,
            capture_output=True,
            text=True,
            timeout=HELPER_TIMEOUT_S,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if not answer.get("Username"):
        return None
    return {"username": answer["Username"], "password": answer["Secret"], "serveraddress": registry}


def header(reference: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The X-Registry-Auth header for a reference; empty when nothing is known."""
    known = find(registry_of(reference), environ)
    return {"X-Registry-Auth": encode(known)} if known else {}


def encode(auth: Mapping[str, str]) -> str:
    """Spec: Docker API 1.47, Authentication: base64url of a JSON document."""
    return base64.urlsafe_b64encode(json.dumps(dict(auth)).encode()).decode()


def remember(registry: str, user: str, password: str, environ: Mapping[str, str]) -> Path:
    """Keep credentials for the next commands; returns the file."""
    path = own_file(environ)
    content = load(path)
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    content.setdefault("auths", {})[registry] = {"auth": secret}
    save(path, content)
    return path


def forget(registry: str, environ: Mapping[str, str]) -> bool:
    """Remove ours; False when there was nothing."""
    path = own_file(environ)
    content = load(path)
    if content.get("auths", {}).pop(registry, None) is None:
        return False
    save(path, content)
    return True


def save(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step; nobody else may read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, draft = tempfile.mkstemp(dir=path.parent, prefix=".credentials-")
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        os.replace(draft, path)
    except OSError as error:
        raise Failure(f"the credentials cannot be kept in {path}: {error.strerror}") from None
