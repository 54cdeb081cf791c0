"""Removing what has stopped, as a job: many containers with large writable layers take long.

The engine takes all of them; for people who see some only, each of theirs is removed by itself.
"""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from webdock.engines.audit import Actor
from webdock.engines.clients import client as client_of
from webdock.jobs.running import LiveJob, start


def start_prune(actor: Actor, alias: str) -> LiveJob:
    """Remove every container that is not running. Raises: TooMany."""

    async def work(job: LiveJob) -> str:
        found = (await client_of(alias).container_prune()).get("ContainersDeleted") or []
        job.detail = " ".join(id[:12] for id in found)
        text = ngettext("%(n)d container was removed.", "%(n)d containers were removed.", len(found))
        return text % {"n": len(found)}

    subject = _("stopped containers")
    return start(
        actor, "prune", work, engine=alias, object_kind="container", subject=subject, cancels="", joined=False
    )
