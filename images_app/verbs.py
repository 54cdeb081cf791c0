"""What can be asked of an image, and how: one way for buttons and the admin. Writes nothing observed."""

from __future__ import annotations

from django.utils.translation import gettext as _

from images_app.models import Image
from runtime.api.errors import EngineError
from webdock.engines.audit import Actor, audited
from webdock.engines.clients import client as client_of
from webdock.engines.outcomes import Outcome
from webdock.engines.sizes import disk_size
from webdock.engines.threads import carried_out
from webdock.engines.wording import explain
from webdock.jobs.running import LiveJob, start


async def remove(actor: Actor, image: Image, *, tag: str | None = None, force: bool = False) -> Outcome:
    """Take one name off, or without ``tag`` remove the image with all its names."""
    return await carried_out(_remove(actor, image, tag, force), name=f"remove {image.short_id}")


async def _remove(actor: Actor, image: Image, tag: str | None, force: bool) -> Outcome:
    names = image.tags
    # Docker refuses an id with several names unless forced; people who press Remove mean all of them.
    refs = [tag] if tag else (names if len(names) > 1 and not force else [image.image_id])
    try:
        async with audited(
            actor,
            "image.untag" if tag else "image.remove",
            engine=image.engine.alias,
            kind="image",
            id=image.image_id,
            name=tag or image.name,
            detail="force" if force else "",
        ):
            for ref in refs:
                await client_of(image.engine.alias).image_remove(ref, force=force)
    except EngineError as error:
        return Outcome(False, explain(error), error.status)
    text = _("The tag %(name)s was removed.") if tag else _("%(name)s was removed.")
    return Outcome(True, text % {"name": tag or image.name})


async def tag(actor: Actor, image: Image, name: str) -> Outcome:
    """Point one more name to the image."""
    return await carried_out(_tag(actor, image, name), name=f"tag {image.short_id}")


async def _tag(actor: Actor, image: Image, name: str) -> Outcome:
    repo, colon, label = name.rpartition(":")
    if not colon or "/" in label:
        repo, label = name, "latest"
    try:
        async with audited(
            actor,
            "image.tag",
            engine=image.engine.alias,
            kind="image",
            id=image.image_id,
            name=image.name,
            detail=name,
        ):
            await client_of(image.engine.alias).image_tag(image.image_id, repo=repo, tag=label)
    except EngineError as error:
        return Outcome(False, explain(error), error.status)
    return Outcome(True, _("%(name)s is now a name of this image.") % {"name": f"{repo}:{label}"})


def start_prune(actor: Actor, alias: str, *, everything: bool) -> LiveJob:
    """Remove images without a name, or with ``everything`` all that no container uses; a job.

    Raises: TooMany.
    """
    filters = {"dangling": ["false" if everything else "true"]}

    async def work(job: LiveJob) -> str:
        answer = await client_of(alias).image_prune(filters=filters)
        gone = [one["Deleted"] for one in answer.get("ImagesDeleted") or () if one.get("Deleted")]
        freed = int(answer.get("SpaceReclaimed") or 0)
        text = _("%(n)d images and layers were removed, %(size)s freed.")
        return text % {"n": len(gone), "size": disk_size(freed)}

    subject = _("every unused image") if everything else _("images without a tag")
    return start(actor, "prune", work, engine=alias, subject=subject, cancels="")
