"""Logging in, slowed down where somebody guesses, and the first administrator's form."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webdock.engines.audit import request_address
from webdock.people.throttle import throttled

THROTTLED = "throttled"  # the error's code


class LoginForm(AuthenticationForm):
    """Django's, but it does not even look at the password while attempts are throttled."""

    def clean(self) -> dict[str, Any]:
        if throttled(self.data.get("username", ""), request_address(self.request)):
            raise ValidationError(_("Too many attempts. Wait a few minutes and try again."), code=THROTTLED)
        cleaned: dict[str, Any] = super().clean()
        return cleaned


class WelcomeForm(UserCreationForm):
    """Name and password; saved as an administrator."""

    class Meta:
        model = User
        fields = ("username",)

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        user.is_staff = user.is_superuser = True
        if commit:
            user.save()
        return user
