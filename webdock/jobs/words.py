"""What people read of a job: its kind and state. A kind without words here shows its own name."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from webdock.jobs.models import Job

KINDS: dict[str, Any] = {
    "pull": _("Pull"),
    "push": _("Push"),
    "save": _("Save"),
    "load": _("Load"),
    "import": _("Import"),
    "prune": _("Remove unused"),
    "recreate": _("Recreate"),
    "registry": _("Local registry"),
}
LEFT = _("The browser went away.")
RESTARTED = _("The web process was restarted.")
BROKEN = _("The job failed; the log of the web process says how.")
CANCELLED = _("Cancelled.")


def kind_word(kind: str) -> str:
    return str(KINDS.get(kind, kind))


def state_word(state: str) -> str:
    return str(Job.State(state).label) if state in Job.State.values else state


def too_many() -> str:
    return gettext("Several jobs run already. Try again when one has finished.")
