"""Letting others into a terminal: to look on or to type, until it is taken back.

Only the owner of a session shares it, and only with people who may open terminals themselves.
"""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from containers_app.models import TerminalGuest, TerminalSession
from containers_app.terminal_hub import hubs
from containers_app.terminal_peers import tell_guest
from webdock.engines.audit import actor_of, audited
from webdock.engines.consumers import CLOSE_FORBIDDEN
from webdock.engines.pages import answer
from webdock.people.belongings import rights_over
from webdock.people.rights import requires

GUESTS_MAX = 20


@requires("terminal")
@require_POST
async def terminal_share(request: HttpRequest, session: UUID) -> HttpResponse:
    """Invite somebody (user=name) to look on, or to type (types=on); again to change which."""
    found = await own_session(request, session)
    name, types = request.POST.get("user", "").strip(), bool(request.POST.get("types"))
    back = reverse("terminal-list")
    guest = await get_user_model().objects.filter(username=name, is_active=True).afirst()
    right = "control" if found.kind == TerminalSession.Kind.ATTACH else "shell"
    if (
        guest is None
        or guest.pk == found.user_id
        or right not in await sync_to_async(rights_over)(guest, "container", found.container_id)
    ):
        words = _("%(name)s cannot be invited: nobody else by this name may open terminals here.")
        words %= {"name": name or "?"}
        return await answer(request, False, words, back, status=400)
    if await found.guests.exclude(user=guest).acount() >= GUESTS_MAX:
        words = _("A terminal has at most %(count)s guests.") % {"count": GUESTS_MAX}
        return await answer(request, False, words, back, status=409)
    detail = f"{name}, {'types' if types else 'looks on'}"
    async with audited(await actor_of(request), "terminal.share", detail=detail, **found.audit_object):
        await TerminalGuest.objects.aupdate_or_create(session=found, user=guest, defaults={"types": types})
        if (hub := hubs.get(found.pk)) is not None:
            hub.allow(guest.pk, types=types)
        await tell_guest(found.pk, guest.pk, types=types)
    words = (
        _("%(name)s may type into this terminal: it is in their list.")
        if types
        else _("%(name)s may look on: the terminal is in their list.")
    )
    return await answer(request, True, words % {"name": name}, back)


@requires("terminal")
@require_POST
async def terminal_unshare(request: HttpRequest, session: UUID) -> HttpResponse:
    """Take an invitation back (user=name): whoever is there is out at once."""
    found = await own_session(request, session)
    name = request.POST.get("user", "")
    back = reverse("terminal-list")
    guest = await found.guests.filter(user__username=name).afirst()
    if guest is None:
        return await answer(request, False, _("%(name)s is no guest.") % {"name": name}, back, status=404)
    async with audited(await actor_of(request), "terminal.unshare", detail=name, **found.audit_object):
        await guest.adelete()
        if (hub := hubs.get(found.pk)) is not None:
            hub.expel(guest.user_id, CLOSE_FORBIDDEN, _("This terminal is not shared with you any more."))
        await tell_guest(found.pk, guest.user_id, types=None)
    return await answer(request, True, _("%(name)s is out.") % {"name": name}, back)


async def own_session(request: HttpRequest, id: UUID) -> TerminalSession:
    """Raises: Http404, also for somebody else's."""
    user = await request.auser()
    sessions = TerminalSession.objects.select_related("engine", "user")
    session = await sessions.filter(pk=id, ended_at=None, user_id=user.pk).afirst()
    if session is None:
        raise Http404
    return session
