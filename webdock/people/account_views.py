"""One's own account: where one is logged in, and the tokens one has made."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from webdock.engines.audit import Actor, request_address, write
from webdock.engines.pages import answer, page
from webdock.people import factors, usage
from webdock.people.models import ApiToken, Identity, Team, token_digest
from webdock.people.quotas import Sizes
from webdock.people.rights import requires
from webdock.people.roles import RIGHTS
from webdock.people.sessions import AGENT_KEY, FROM_KEY, sessions_of
from webdock.people.standing import standing
from webdock.people.tokens import DAYS_MAX, PER_PERSON_MAX, make

NAME_MAX_CHARS = 64


async def _shown(request: HttpRequest, **more: Any) -> HttpResponse:
    sizes = await usage.measured()
    context = await sync_to_async(_context)(request, sizes)
    return await page(request, "people/account.html", context | more)


def _context(request: HttpRequest, sizes: Sizes | None) -> dict[str, Any]:
    sessions = [
        {
            "key": token_digest(session.session_key),  # itself it would be as good as its cookie
            "own": session.session_key == request.session.session_key,
            "address": data.get(FROM_KEY, ""),
            "agent": data.get(AGENT_KEY, ""),
            "expires": session.expire_date,
        }
        for session, data in sessions_of(request.user.pk)
    ]
    who = standing(request.user)
    teams = dict(Team.objects.filter(roles__user_id=request.user.pk).values_list("pk", "name"))
    return {
        "usages": usage.of_person(who, teams, sizes),
        "measuring": sizes is None,
        "sessions": sessions,
        "tokens": list(ApiToken.objects.filter(user_id=request.user.pk)),
        "now": timezone.now(),
        "factor": factors.confirmed(request.user.pk),
        "codes_left": factors.codes_left(request.user.pk),
        "provider": settings.OIDC,
        "identity": Identity.objects.filter(user_id=request.user.pk).first(),
        "has_password": request.user.has_usable_password(),  # type: ignore[union-attr]
        "offered": [(right, words) for right, words in RIGHTS.items() if right in who.anywhere],
        "days_max": DAYS_MAX,
    }


@requires("view")
@never_cache
@require_GET
async def account(request: HttpRequest) -> HttpResponse:
    return await _shown(request)


@requires("view")
@require_POST
async def session_end(request: HttpRequest) -> HttpResponse:
    """Log one's other sessions out: the one named (key=), or with ``all`` every other one."""

    def end() -> int:
        asked, everything = request.POST.get("key", ""), request.POST.get("all", "") == "1"
        ended = 0
        for session, _data in sessions_of(request.user.pk):
            own = session.session_key == request.session.session_key
            if not own and (everything or token_digest(session.session_key) == asked):
                session.delete()
                ended += 1
        if ended:
            actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
            write(actor, "session.end", kind="user", name=actor.username, detail=str(ended))
        return ended

    ended = await sync_to_async(end)()
    words = _("Ended. What was open there is closing.") if ended else _("No such session.")
    return await answer(request, bool(ended), words, "account", status=404)


@requires("view")
@never_cache
@require_POST
async def token_make(request: HttpRequest) -> HttpResponse:
    """Make an API token; it is on the answer's page, and never again anywhere."""

    def work() -> tuple[str, str]:
        name = " ".join(request.POST.get("name", "").split())[:NAME_MAX_CHARS]
        days = request.POST.get("days", "")
        if not name:
            return "", _("name: a token needs one, to be recognised by")
        if not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= DAYS_MAX):
            return "", _("days: expected a number from 1 to %(n)d") % {"n": DAYS_MAX}
        if ApiToken.objects.filter(user_id=request.user.pk).count() >= PER_PERSON_MAX:
            return "", _("You have %(n)d tokens already: remove one first.") % {"n": PER_PERSON_MAX}
        rights = request.POST.getlist("rights")
        token = make(request.user, name, rights, int(days))  # type: ignore[arg-type]
        actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
        detail = f"{days} days; {', '.join(sorted(rights)) or 'every right of its person'}"
        write(actor, "token.make", kind="token", name=name, detail=detail)
        return token, ""

    token, error = await sync_to_async(work)()
    if error:
        return await answer(request, False, error, "account", status=400)
    return await _shown(request, token=token)


@requires("view")
@require_POST
async def token_remove(request: HttpRequest, token: int) -> HttpResponse:
    """Remove one of one's own tokens; what it holds open closes."""

    def work() -> bool:
        row = ApiToken.objects.filter(pk=token, user_id=request.user.pk).first()
        if row is None:
            return False
        row.delete()
        actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
        write(actor, "token.remove", kind="token", name=row.name)
        return True

    removed = await sync_to_async(work)()
    words = _("The token was removed.") if removed else _("No such token.")
    return await answer(request, removed, words, "account", status=404)
