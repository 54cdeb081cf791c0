"""Pulls as long jobs: one per (engine, reference). Closing a tab changes nothing.

Cancelling closes the connection to the engine, which ends the pull there.
"""

from __future__ import annotations

import re
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from images_app.models import ID_PREFIX
from runtime.api.errors import EngineError
from webdock.engines.audit import Actor
from webdock.engines.clients import client as client_of
from webdock.jobs import words
from webdock.jobs.running import LiveJob, TooMany, board, start
from webdock.registries.credentials import auth_for

KIND = "pull"
RUNNING_MAX = 8  # at once in this process
REFERENCE_MAX_CHARS = 512
READABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*")
PLATFORM = re.compile(r"[a-z0-9]{1,32}(?:/[a-z0-9_]{1,32}(?:/[a-z0-9.]{1,32})?)?")


def start_pull(
    actor: Actor, engine: str, reference: str, auth: dict[str, str] | None, platform: str | None = None
) -> LiveJob:
    """Begin, or join the one that runs for the same reference. Without ``auth`` a kept password is sent.

    Raises: TooMany.
    """
    running = board().running(KIND)
    if len(running) >= RUNNING_MAX and not any(
        (one.engine, one.subject) == (engine, reference) for one in running
    ):
        raise TooMany(words.too_many())

    async def work(job: LiveJob) -> str:
        sent = auth or await auth_for(reference)
        async with client_of(engine).image_pull(reference, platform=platform, auth=sent) as progress:
            async for news in progress:
                job.progress.take(news)
                job.tell()
        job.url = await _page_of(engine, reference)
        return job.progress.message or _("%(name)s is here.") % {"name": reference}

    name = f"{reference} ({platform})" if platform else ""
    return start(actor, KIND, work, engine=engine, subject=reference, name=name, cancels="pull")


async def _page_of(engine: str, reference: str) -> str:
    """The address of the image's page; "" when the engine does not say what was pulled."""
    try:
        id = str((await client_of(engine).image_inspect(reference))["Id"])
        return reverse("image-detail", args=[id.removeprefix(ID_PREFIX)])
    except (EngineError, KeyError, NoReverseMatch):
        return ""


def as_pull(job: LiveJob) -> dict[str, Any]:
    """A pull as /ws/pulls/ says it."""
    shown = job.as_dict()
    return {
        "id": job.id,
        "reference": job.subject,
        "state": shown["state"],
        "message": shown["message"],
        "layers": shown["parts"],
        "started": shown["started"],
        "by": job.username,
    }


def clean_reference(text: str) -> str | None:
    """A reference worth asking a registry for, None when it cannot be one. The engine judges the rest."""
    text = text.strip()
    if len(text) > REFERENCE_MAX_CHARS or READABLE.fullmatch(text) is None:
        return None
    return text
