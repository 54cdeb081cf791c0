"""Set, try and forget a registry. The engine keeps how it is spoken to and connects; we keep its password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, InvalidArgument, NotFound, NotSupported, Unauthorized
from runtime.api.types import RegistryBody, RegistryRow, RegistryTest
from webdock.engines.audit import Actor, audited
from webdock.engines.clients import client as client_of
from webdock.engines.outcomes import Outcome
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.registries import credentials
from webdock.registries.hosts import clean_host, clean_hosts, clean_mirrors

TRUE_WORDS = ("1", "true", "on", "yes")
CONFIG = "config"  # a row engine.toml fixes


@dataclass(frozen=True)
class Asked:
    """One filled-in form."""

    host: str
    body: RegistryBody
    username: str = ""
    password: str = field(default="", repr=False)
    anyway: bool = False  # keep it although the test failed


def asked_of(data: Any) -> Asked:
    """The form's fields. Raises: InvalidArgument naming the field."""
    body: RegistryBody = {
        "Mirrors": clean_mirrors(data.get("mirrors", "")),
        "Insecure": data.get("insecure", "") in TRUE_WORDS,
        "CA": data.get("ca", "").strip(),
        "TokenHosts": clean_hosts(data.get("token_hosts", ""), "token_hosts"),
    }
    username, password = data.get("username", "").strip(), data.get("password", "")
    if password and not username:
        raise InvalidArgument(_("username: the password needs one"))
    return Asked(
        host=clean_host(data.get("host", "")),
        body=body,
        username=username,
        password=password,
        anyway=data.get("anyway", "") in TRUE_WORDS,
    )


async def auth_asked(client: EngineClient, asked: Asked) -> credentials.Auth | None:
    """What would be sent: the form's password, or the one that is kept for the same user name.

    A kept password goes only where it went before: otherwise whoever may edit a registry could have it sent
    to a machine of their own. Raises: InvalidArgument when the password has to be typed.
    """
    if not asked.username:
        return None
    if asked.password:
        return credentials.auth_of(asked.host, asked.username, asked.password)
    kept = await credentials.stored(asked.host)
    if kept is None or kept["username"] != asked.username:
        raise InvalidArgument(_("password: none is kept for this user name"))
    row = await _row(client, asked.host)
    if row is None or row["Source"] != CONFIG:
        now = (row["Insecure"], row["CA"].strip(), row["TokenHosts"]) if row else (False, "", [])
        if now != (asked.body["Insecure"], asked.body["CA"], asked.body["TokenHosts"]):
            raise InvalidArgument(_("password: type it again, as it would go to other places than before"))
    return kept


async def _row(client: EngineClient, host: str) -> RegistryRow | None:
    """What the engine has of this host; None also for engines that keep nothing."""
    try:
        rows = await client.registry_list()
    except (NotFound, NotSupported):
        return None
    return next((row for row in rows if row["Host"] == host), None)


async def tried(client: EngineClient, asked: Asked, auth: credentials.Auth | None) -> RegistryTest:
    """What the engine found out; other engines can only try the credentials."""
    try:
        rows = await client.registry_list()
        fixed = any(row["Host"] == asked.host and row["Source"] == CONFIG for row in rows)
        return await client.registry_test(asked.host, {} if fixed else asked.body, auth=auth)
    except (NotFound, NotSupported):
        pass
    message, failed = "", ""
    try:
        if auth is None:
            raise NotSupported(_("this engine can try a registry only with a user name and password"))
        await client.auth(auth)
    except Unauthorized as error:
        message, failed = explain(error), "credentials"
    url = f"https://{asked.host}"
    return {
        "Host": asked.host,
        "Ok": not failed,
        "Tried": [
            {"Url": url, "Mirror": False, "Ok": not failed, "Auth": "", "Failed": failed, "Message": message}
        ],
    }


async def save(actor: Actor, alias: str, asked: Asked) -> tuple[Outcome, RegistryTest | None]:
    """Try it, then keep it; what fails the test is kept only when that was asked for."""
    return await carried_out(_save(actor, alias, asked), name=f"registry {asked.host}")


async def _save(actor: Actor, alias: str, asked: Asked) -> tuple[Outcome, RegistryTest | None]:
    client = client_of(alias)
    result: RegistryTest | None = None
    words = [f"user {asked.username}"] if asked.username else []
    words += [f"mirror {url}" for url in asked.body["Mirrors"]]
    words += ["insecure"] if asked.body["Insecure"] else []
    try:
        auth = await auth_asked(client, asked)
        async with audited(
            actor,
            "registry.save",
            engine=alias,
            kind="registry",
            id=asked.host,
            name=asked.host,
            detail=", ".join(words),
        ):
            try:
                result = await tried(client, asked, auth)
            except EngineError:
                if not asked.anyway:
                    raise
            if result is not None and not result["Ok"] and not asked.anyway:
                raise InvalidArgument(failure_of(result))
            await _set(client, asked)
            if auth is None:
                await credentials.forget(asked.host)
            elif asked.password:
                await credentials.keep(asked.host, asked.username, asked.password, actor.username)
    except InvalidArgument as error:  # begins with the field it is about
        return Outcome(False, error.message, error.status), result
    except EngineError as error:
        return Outcome(False, explain(error), error.status), result
    return Outcome(True, _("%(host)s was saved.") % {"host": asked.host}), result


async def _set(client: EngineClient, asked: Asked) -> None:
    try:
        rows = {row["Host"]: row for row in await client.registry_list()}
    except (NotFound, NotSupported):
        if any(asked.body.values()):
            raise NotSupported(_("this engine's mirrors and certificates are set in its own files")) from None
        return
    row = rows.get(asked.host)
    if row is not None and row["Source"] == CONFIG:
        return
    if any(asked.body.values()) or (row is not None and row["Local"]):
        # Local is given by root alone; it stays as it is.
        await client.registry_set(asked.host, {**asked.body, "Local": bool(row and row["Local"])})
    elif row is not None and row["Source"] == "set":
        await client.registry_forget(asked.host)


def failure_of(result: RegistryTest) -> str:
    """The sentence for the first address that failed."""
    for one in result["Tried"]:
        if not one["Ok"]:
            return _("%(url)s: %(why)s") % {"url": one["Url"], "why": one["Message"]}
    return _("the registry could not be tried")


async def forget(actor: Actor, alias: str, host: str) -> Outcome:
    """Forget the password and everything that was set for the host."""
    return await carried_out(_forget(actor, alias, host), name=f"forget registry {host}")


async def _forget(actor: Actor, alias: str, host: str) -> Outcome:
    try:
        async with audited(actor, "registry.remove", engine=alias, kind="registry", id=host, name=host):
            had_password = await credentials.forget(host)
            try:
                await client_of(alias).registry_forget(host)
            except (NotFound, NotSupported):
                if not had_password:
                    raise NotFound(_("nothing was set for %(host)s") % {"host": host}) from None
    except EngineError as error:
        return Outcome(False, explain(error), error.status)
    return Outcome(True, _("%(host)s was forgotten, with its password.") % {"host": host})


async def shown(client: EngineClient) -> tuple[list[dict[str, Any]], str]:
    """The page's rows, and why the engine's part of them is missing."""
    names = await credentials.usernames()
    error, rows = "", list[RegistryRow]()
    try:
        rows = await client.registry_list()
    except (NotFound, NotSupported):
        error = _("This engine keeps mirrors and certificates in its own files; passwords are kept here.")
    except EngineError as failure:
        error = explain(failure)
    found: dict[str, dict[str, Any]] = {
        row["Host"]: {
            "host": row["Host"],
            "source": row["Source"],
            "fixed": row["Source"] == CONFIG,
            "mirrors": row["Mirrors"],
            "insecure": row["Insecure"],
            "ca": row["CA"],
            "own_ca": bool(row["CA"] or row["CAFile"]),
            "local": row["Local"],
            "token_hosts": row["TokenHosts"],
        }
        for row in rows
    }
    for host in names:
        found.setdefault(host, {"host": host, "source": "default", "fixed": False, "mirrors": []})
    for host, row in found.items():
        row["username"] = names.get(host, "")
        row["removable"] = bool(row["username"]) or row["source"] == "set"
    return sorted(found.values(), key=lambda row: (row["host"] != "docker.io", row["host"])), error
