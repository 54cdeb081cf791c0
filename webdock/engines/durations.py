"""Times as people say them: "3 minutes", "About an hour", "2 weeks". Pure.

Spec: the words of the Docker client's human durations, so a row reads like ``docker ps``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 24 * 3600


def human_duration(span: timedelta) -> str:
    """A length of time in one unit; negative ones (a clock was set back) count as none."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 1:
        return _("Less than a second")
    if seconds < MINUTE_S:
        return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}
    minutes = seconds // MINUTE_S
    if minutes == 1:
        return _("About a minute")
    if minutes < 60:
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    hours = round(seconds / HOUR_S)
    if hours == 1:
        return _("About an hour")
    if hours < 48:
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    days = seconds // DAY_S
    if days < 14:
        return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}
    if days < 60:
        return ngettext("%(n)d week", "%(n)d weeks", days // 7) % {"n": days // 7}
    if days < 730:
        return ngettext("%(n)d month", "%(n)d months", days // 30) % {"n": days // 30}
    return ngettext("%(n)d year", "%(n)d years", days // 365) % {"n": days // 365}


def ago(moment: datetime | None, now: datetime) -> str:
    """ "2 hours ago", "" when there is no moment."""
    return _("%(duration)s ago") % {"duration": human_duration(now - moment)} if moment else ""
