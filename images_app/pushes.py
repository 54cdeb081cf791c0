"""Pushes, saves, loads and imports: what moves whole images, as long jobs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from django.utils.translation import gettext as _

from images_app.models import Image
from webdock.engines.audit import Actor
from webdock.engines.clients import client as client_of
from webdock.engines.sizes import disk_size
from webdock.engines.wording import sentence
from webdock.jobs.running import LiveJob, start, tracked
from webdock.registries.credentials import auth_for

KIND = "push"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def start_push(actor: Actor, image: Image, name: str, auth: dict[str, str] | None) -> LiveJob:
    """Send one of the image's names to its registry. Without ``auth`` a kept password is sent.

    Raises: TooMany.
    """
    engine = image.engine.alias

    async def work(job: LiveJob) -> str:
        sent = auth or await auth_for(name)
        repo, tag = split(name)
        async with client_of(engine).image_push(repo, tag=tag, auth=sent) as progress:
            async for news in progress:
                job.progress.take(news)
                job.tell()
        found = DIGEST.search(job.progress.message)
        if found is None:
            return _("%(name)s was pushed.") % {"name": name}
        return _("%(name)s was pushed, its digest is %(digest)s.") % {"name": name, "digest": found[0]}

    return start(actor, KIND, work, engine=engine, subject=name, url=image.get_absolute_url(), cancels="push")


def split(name: str) -> tuple[str, str]:
    """Repository and tag of a full name: ``host:5000/app:1`` -> (``host:5000/app``, ``1``)."""
    repo, colon, tag = name.rpartition(":")
    return (repo, tag) if colon and "/" not in tag else (name, "latest")


async def saved(actor: Actor, image: Image, names: list[str]) -> AsyncIterator[bytes]:
    """The image's archive in pieces, as a job that ends with the download; opened before the first piece.

    Raises: EngineError, TooMany; in the middle of it, so that a cut archive never looks whole.
    """
    what = ", ".join(names) or image.short_id
    async with tracked(
        actor, "save", engine=image.engine.alias, subject=what, cancels=""
    ) as job:  # the browser's own cancel is the one
        job.progress.total = image.size_bytes
        archive = client_of(image.engine.alias).image_save(names or [image.image_id])
        await archive.open()
        try:
            yield b""
            async for piece in archive:
                job.progress.current += len(piece)
                job.tell()
                yield piece
        finally:
            archive.close()
        job.message = _("%(size)s were downloaded.") % {"size": disk_size(job.progress.current)}


async def brought(job: LiveJob, engine: str, body: AsyncIterator[bytes], reference: str | None) -> str:
    """Load the archive, or with a reference import it as a root file system; what came of it, for people."""
    client = client_of(engine)
    if reference is None:
        stream = client.image_load(body)
    else:
        repo, tag = split(reference)
        stream = client.image_import(body, repo=repo, tag=tag)
    said: list[str] = []
    async with stream as progress:
        async for news in progress:
            job.progress.take(news)
            if text := str(news.get("stream") or ""):
                said.append(sentence(text))
            job.tell()
    if reference is not None:
        return _("%(name)s was imported.") % {"name": reference}
    return " ".join(said[:20]) or _("The archive was loaded.")
