"""What every page is given besides its own: engine, numbers of the side bar, rights. Runs in a thread."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import get_language

from containers_app.models import Container
from images_app.models import Image
from webdock import __version__
from webdock.engines.models import current_engine
from webdock.languages import catalogue_url
from webdock.people.belongings import hidden
from webdock.people.rights import rights_of
from webdock.people.standing import standing


def common(request: HttpRequest) -> dict[str, Any]:
    """Nothing for people who are not logged in: also a number tells something."""
    words = catalogue_url(get_language() or "en")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"rights": frozenset(), "version": __version__, "words_url": words}
    engine = current_engine()
    return {
        "engine": engine,
        "nav": {
            "containers": Container.objects.filter(removed_at=None).count(),
            "images": Image.objects.filter(removed_at=None).count(),
            "networks": max(0, engine.network_count - hidden("network")),
            "volumes": max(0, engine.volume_count - hidden("volume")),
        },
        "rights": rights_of(user),
        "teams": standing(user).admin or bool(standing(user).administers),
        "version": __version__,
        "words_url": words,
    }
