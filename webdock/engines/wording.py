"""Engine errors as one plain sentence for people."""

from __future__ import annotations

from django.utils.translation import gettext as _

from runtime.api.errors import (
    EngineError,
    EngineUnreachable,
    Forbidden,
    NotModified,
    NotSupported,
    PeerProtocolError,
    Unavailable,
)

MESSAGE_MAX_CHARS = 2000
POLICY_WORDS = "not allowed on this socket"  # the confined socket's; other refusals speak for themselves


def sentence(text: str) -> str:
    """A message of the engine with a capital letter and a full stop, cut where it stops being readable."""
    text = " ".join(text.split())[:MESSAGE_MAX_CHARS]
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def explain(error: EngineError) -> str:
    """What to tell the person who asked."""
    if isinstance(error, EngineUnreachable):
        return _(
            "The engine does not answer. Containers keep running; this page works again when it is back."
        )
    if isinstance(error, PeerProtocolError):
        return _("The engine gave an answer that is not the Engine API: %(why)s") % {"why": error.message}
    if isinstance(error, Unavailable):
        return sentence(error.message) or _("The engine is starting, stopping or overloaded.")
    if isinstance(error, NotModified):
        return _("It is already so.")
    if isinstance(error, Forbidden) and POLICY_WORDS in error.message:
        return _("The engine's policy refuses this: %(why)s") % {"why": sentence(error.message)}
    if isinstance(error, NotSupported):
        return sentence(error.message) or _("This engine cannot do that.")
    return sentence(error.message) or _("The engine failed without saying why.")
