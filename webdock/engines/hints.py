""" "Something of kind K changed", sent to a group. No payload: a hint may be lost and costs seconds then."""

from __future__ import annotations

import logging

from channels.layers import get_channel_layer
from django.conf import settings

logger = logging.getLogger("webdock.engines")

LAYER_ERRORS: tuple[type[Exception], ...] = (OSError,)
if settings.REDIS_URL:
    from redis.exceptions import RedisError

    LAYER_ERRORS = (OSError, RedisError)


def group(kind: str) -> str:
    """The channel layer group that hears of this kind (container, image, engine)."""
    return f"hints.{kind}"


async def hint(kind: str) -> None:
    """Wake whoever shows rows of this kind; a channel layer that is down is logged, never raised."""
    try:
        await get_channel_layer().group_send(group(kind), {"type": "hint", "kind": kind})
    except LAYER_ERRORS as error:
        logger.warning("hint %s was not sent: %s", kind, error)
