"""Second factors: codes that a phone computes from a shared secret, and recovery codes. From a thread.

Owns what is kept of them: the secret encrypted, recovery codes as digests. It counts no attempts: who asks
for a code throttles them like passwords.

Spec: RFC 6238, TOTP.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from webdock.people.models import RecoveryCode, SecondFactor, token_digest
from webdock.sealing import Unreadable, seal, unseal

STEP_S = 30
SKEW_STEPS = 1  # a phone's clock may be half a minute off, either way
DIGITS = 6
RECOVERY_CODES = 10
RECOVERY_GROUPS, GROUP_CHARS = 4, 4
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another; 16 of them are 79 bits
ISSUER = "webdock"
PROVIDER_KEY = "webdock_provider"  # in a session: it was begun at an identity provider


def confirmed(user_id: int | None) -> SecondFactor | None:
    """The second factor of a person who has one that counts."""
    return SecondFactor.objects.filter(user_id=user_id).exclude(confirmed_at=None).first()


def readable(factor: SecondFactor) -> bool:
    """Whether codes of the phone can be checked: not when the key they were encrypted with is gone."""
    try:
        unseal(factor.sealed)
    except Unreadable:
        return False
    return True


def waiting(user_id: int) -> SecondFactor | None:
    """One that was begun and whose first code has not been typed."""
    return SecondFactor.objects.filter(user_id=user_id, confirmed_at=None).first()


def codes_left(user_id: int) -> int:
    """How many recovery codes are unused."""
    return RecoveryCode.objects.filter(user_id=user_id, used_at=None).count()


def begin(user: AbstractBaseUser) -> bool:
    """Make a secret that does not count yet, in place of an earlier one; False: there is one that counts."""
    import pyotp  # loaded by who uses it: the web process starts without

    with transaction.atomic():
        SecondFactor.objects.filter(user_id=user.pk, confirmed_at=None).delete()
        sealed = seal(pyotp.random_base32())
        _factor, made = SecondFactor.objects.get_or_create(user_id=user.pk, defaults={"sealed": sealed})
    return made


def address_of(factor: SecondFactor, name: str, host: str) -> tuple[str, str]:
    """What a phone's app reads from the picture ("otpauth://…"), and the secret to type instead.

    Raises: Unreadable when the key is another one now.
    """
    import pyotp

    secret = unseal(factor.sealed)
    return pyotp.TOTP(secret).provisioning_uri(name=f"{name}@{host}", issuer_name=ISSUER), secret


def picture(text: str) -> str:
    """A QR code as the address of an image ("data:image/svg+xml…"), which our policy allows."""
    import segno

    address: str = segno.make(text, error="m", micro=False).svg_data_uri(scale=5, light="#fff")
    return address


def confirm(user_id: int, code: str) -> list[str] | None:
    """Let it count from now on, when the code is right; the recovery codes, which are shown only now."""
    factor = waiting(user_id)
    if factor is None or not _take_step(factor, code):
        return None
    SecondFactor.objects.filter(pk=factor.pk).update(confirmed_at=timezone.now())
    return new_recovery_codes(user_id)


def new_recovery_codes(user_id: int) -> list[str]:
    """Ten new ones; earlier ones end."""
    codes = ["-".join(_letters(GROUP_CHARS) for _n in range(RECOVERY_GROUPS)) for _n in range(RECOVERY_CODES)]
    with transaction.atomic():
        RecoveryCode.objects.filter(user_id=user_id).delete()
        for code in codes:
            RecoveryCode.objects.create(user_id=user_id, digest=_digest(user_id, code))
    return codes


def take(user_id: int, text: str) -> str:
    """Use a code of a person up: "code", "recovery", or "" when it is none of theirs, or was used before."""
    factor = confirmed(user_id)
    if factor is None:
        return ""
    if _take_step(factor, text):
        return "code"
    found = RecoveryCode.objects.filter(user_id=user_id, digest=_digest(user_id, text), used_at=None)
    return "recovery" if found.update(used_at=timezone.now()) else ""  # Race: one of two gets the row


def remove(user_id: int) -> bool:
    """True when there was one that counted."""
    with transaction.atomic():
        RecoveryCode.objects.filter(user_id=user_id).delete()
        counted = confirmed(user_id) is not None
        SecondFactor.objects.filter(user_id=user_id).delete()
    return counted


def owed(user: Any, *, admin: bool, by_provider: bool) -> bool:
    """Whether this person must set one up before anything else. Who came from a provider has theirs there."""
    if not settings.ADMIN_SECOND_FACTOR or not admin or by_provider:
        return False
    return confirmed(user.pk) is None


def _letters(number: int) -> str:
    return "".join(secrets.choice(LETTERS) for _n in range(number))


def _digest(user_id: int, code: str) -> str:
    """Codes are typed from paper: case, spaces and dashes do not matter."""
    plain = "".join(character for character in code.lower() if character.isalnum())[:64]
    return token_digest(f"{user_id}:{plain}")


def _take_step(factor: SecondFactor, text: str) -> bool:
    """Whether this is the code of now or of a neighbouring step, newer than any that was taken."""
    import pyotp

    typed = "".join(text.split())
    if len(typed) != DIGITS or not (typed.isascii() and typed.isdigit()):
        return False
    try:
        totp = pyotp.TOTP(unseal(factor.sealed), digits=DIGITS, interval=STEP_S)
    except Unreadable:
        return False
    now = int(time.time()) // STEP_S
    for step in range(now - SKEW_STEPS, now + SKEW_STEPS + 1):
        if constant_time_compare(totp.generate_otp(step), typed):
            # Race: the same code twice at once; only one raises the mark.
            rows = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step)
            return bool(rows.update(last_step=step))
    return False
