"""Why a container is not running, in words. Pure: a row and its inspect document in, a card out."""

from __future__ import annotations

import re
import signal
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from containers_app.models import Container
from webdock.engines import secrets
from webdock.engines.wording import sentence

OUTPUT_MAX_CHARS = 2000
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=0.1), timedelta(seconds=60)  # as Docker has them
SETTLED = timedelta(seconds=10)  # a run this long starts the delays anew
LONGEST_STEPS = 10
#: What stands before the reason in the words Docker's clients look for, and after it.
_PREFIX = re.compile(
    r"^failed to create task for container: failed to create shim task: OCI runtime create failed: "
    r"(?:unable to start container process: )?"
)
_PROGRAM = re.compile(r'exec: "(?P<name>[^"]*)": (?P<why>.*)$', re.DOTALL)
ASKED_TO_STOP = (128 + signal.SIGTERM, 128 + signal.SIGINT)


def retry_at(container: Container) -> datetime | None:
    """When one that ends at once is tried again: after 0.1 s, twice as long each time, at most a minute.

    The engine counts from its last long run, this from all of them: it is the latest moment.
    """
    if container.state != "restarting" or container.finished_at is None:
        return None
    ran = container.finished_at - container.started_at if container.started_at else timedelta()
    restarts = int(container.inspect.get("RestartCount") or 0)
    steps = 0 if ran >= SETTLED else min(restarts, LONGEST_STEPS)
    return container.finished_at + min(FIRST_DELAY * 2**steps, LONGEST_DELAY)


def exit_meaning(code: int) -> str:
    """What an exit code says, "" when only the program knows."""
    if code == 0:
        return _("It finished without an error.")
    if code == 125:
        return _("The engine could not start it.")
    if code == 126:
        return _("The program is there but may not be executed.")
    if code == 127:
        return _("The program was not found in the image.")
    if 128 < code < 128 + 65:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return ""
        if name == "SIGKILL":
            return _("It was killed (SIGKILL): by somebody, after the stop timeout, or for want of memory.")
        if name == "SIGTERM":
            return _("It was asked to stop (SIGTERM) and did.")
        if name == "SIGSEGV":
            return _("The program crashed (SIGSEGV: it touched memory that is not its own).")
        return _("It was ended by the signal %(name)s.") % {"name": name}
    return _("The program reported an error of its own; its last output says which.")


def start_failure(error: str) -> str:
    """Why the engine could not start it, without the words that only programs read."""
    reason = _PREFIX.sub("", error).removesuffix(": unknown")
    if found := _PROGRAM.search(reason):
        if "permission denied" in found["why"]:
            text = _("The program “%(name)s” is in the image, but may not be executed.")
        else:
            text = _("The program “%(name)s” was not found in the image.")
        return text % {"name": found["name"]}
    return sentence(reason)


def why_not_running(container: Container) -> dict[str, Any] | None:
    """The card for a container that does not run as it should; None for one that does.

    {"tone": "accent" | "warn" | "bad", "title", "text", "details": [lines], "log": text, by the view}
    """
    state = container.inspect.get("State") or {}
    health = _last_health(state)
    if container.state == "running":
        if container.health != "unhealthy":
            return None
        text = _("Its health check failed several times in a row.")
        return _card("warn", _("Running, but unhealthy"), text, health)
    if container.state == "paused":
        text = _("Every process in it is frozen until it is continued.")
        return _card("accent", _("Paused"), text)
    if container.state == "created":
        tone = "bad" if container.error else "accent"
        return _card(
            tone, _("Not started"), start_failure(container.error) or _("It was made and never started.")
        )
    code = container.exit_code or 0
    details = [_("Exit code %(code)d.") % {"code": code}]
    restarts = int(container.inspect.get("RestartCount") or 0)
    if restarts:
        details.append(_("Restarted %(n)d times.") % {"n": restarts})
    if container.oom_killed:
        text = _("It wanted more memory than it may have and was killed by the kernel.")
        limit = int((container.inspect.get("HostConfig") or {}).get("Memory") or 0)
        if limit:
            details.append(_("Its limit is %(n)d MiB.") % {"n": limit >> 20})
    else:
        text = start_failure(container.error) or exit_meaning(code)
    if health:
        details.append(_("Last health check: %(output)s") % {"output": health})
    titles = {
        "restarting": _("Restarting again and again"),
        "removing": _("Being removed"),
        "dead": _("Dead: it could not be removed completely"),
    }
    clean = code == 0 and not container.oom_killed and not container.error
    title = titles.get(container.state) or (_("Finished") if clean else _("Stopped"))
    asked = code in ASKED_TO_STOP and not container.oom_killed and not container.error
    card = _card("accent" if clean or asked else "bad", title, text, *details)
    return {**card, "retry_at": retry_at(container)}


def _card(tone: str, title: str, text: str, *details: str) -> dict[str, Any]:
    return {
        "tone": tone,
        "title": title,
        "text": text,
        "details": [line for line in details if line],
        "log": "",
    }


def _last_health(state: dict[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or []
    return secrets.line(str(log[-1].get("Output") or "").strip()[:OUTPUT_MAX_CHARS]) if log else ""
