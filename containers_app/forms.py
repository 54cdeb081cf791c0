"""The Run form: what people type, checked field by field, as a create body."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from containers_app import runspec

TEXT_MAX_CHARS = 64 * 1024
PIDS_MAX = 4_194_304  # Kernel: PID_MAX_LIMIT
CPUS_MAX = Decimal(1024)

RESTARTS = [
    ("no", _("Never")),
    ("on-failure", _("When it fails")),
    ("on-failure:5", _("When it fails, at most 5 times")),
    ("unless-stopped", _("Always, unless stopped")),
    ("always", _("Always")),
]


def _area(rows: int, placeholder: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "placeholder": placeholder, "spellcheck": "false"})


class RunForm(forms.Form):
    """``body()`` of a valid form is the body of POST /containers/create."""

    image = forms.CharField(label=_("Image"), max_length=512)
    name = forms.RegexField(
        label=_("Name"),
        regex=rf"^{runspec.NAME.pattern}$",
        required=False,
        max_length=255,
        help_text=_("Chosen for you when left empty."),
        error_messages={
            "invalid": _("A name starts with a letter or digit and goes on with those, _ . or -")
        },
    )
    command = forms.CharField(
        label=_("Command"),
        required=False,
        max_length=TEXT_MAX_CHARS,
        help_text=_("Instead of the image's own."),
    )
    entrypoint = forms.CharField(label=_("Entrypoint"), required=False, max_length=TEXT_MAX_CHARS)
    env = forms.CharField(
        label=_("Environment"), required=False, max_length=TEXT_MAX_CHARS, widget=_area(4, "KEY=VALUE")
    )
    ports = forms.CharField(
        label=_("Ports"), required=False, max_length=TEXT_MAX_CHARS, widget=_area(2, "8080:80/tcp")
    )
    volumes = forms.CharField(
        label=_("Volumes"), required=False, max_length=TEXT_MAX_CHARS, widget=_area(2, "data:/var/lib/data")
    )
    network = forms.CharField(label=_("Network"), required=False, max_length=255)
    workdir = forms.CharField(label=_("Working directory"), required=False, max_length=4096)
    user = forms.CharField(label=_("User"), required=False, max_length=255)
    hostname = forms.CharField(label=_("Host name"), required=False, max_length=63)
    labels = forms.CharField(
        label=_("Labels"), required=False, max_length=TEXT_MAX_CHARS, widget=_area(2, "key=value")
    )
    tty = forms.BooleanField(label=_("Terminal (TTY)"), required=False)
    open_stdin = forms.BooleanField(label=_("Keep standard input open"), required=False)
    auto_remove = forms.BooleanField(label=_("Remove when it exits"), required=False)
    memory = forms.CharField(label=_("Memory"), required=False, max_length=32)
    cpus = forms.DecimalField(
        label=_("CPUs"), required=False, min_value=Decimal("0.01"), max_value=CPUS_MAX, decimal_places=3
    )
    pids = forms.IntegerField(label=_("Processes"), required=False, min_value=1, max_value=PIDS_MAX)
    restart = forms.CharField(label=_("Restart"), required=False, widget=forms.Select(choices=RESTARTS))

    def _parsed(self, field: str, parse: Callable[[str], Any]) -> Any:
        text = self.cleaned_data[field]
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from None

    def clean_image(self) -> str:
        image: str = self.cleaned_data["image"].strip()
        if any(sign.isspace() for sign in image) or image.startswith("-"):
            raise ValidationError(_("This is not the name of an image."), code="invalid")
        return image

    def clean_command(self) -> Any:
        return self._parsed("command", runspec.parse_words)

    def clean_entrypoint(self) -> Any:
        return self._parsed("entrypoint", runspec.parse_words)

    def clean_env(self) -> Any:
        return self._parsed("env", runspec.parse_env)

    def clean_ports(self) -> Any:
        return self._parsed("ports", runspec.parse_ports)

    def clean_volumes(self) -> Any:
        return self._parsed("volumes", runspec.parse_volumes)

    def clean_labels(self) -> Any:
        return self._parsed("labels", runspec.parse_labels)

    def clean_memory(self) -> Any:
        return self._parsed("memory", runspec.parse_size)

    def clean_restart(self) -> Any:
        return self._parsed("restart", runspec.parse_restart)

    def clean_workdir(self) -> str:
        path: str = self.cleaned_data["workdir"]
        if path and not path.startswith("/"):
            raise ValidationError(_("A directory in the container starts with /"), code="invalid")
        return path

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("auto_remove") and (cleaned.get("restart") or {"Name": "no"})["Name"] != "no":
            self.add_error(
                "auto_remove", _("A container that is removed when it exits cannot be restarted as well.")
            )
        return cleaned

    def body(self) -> dict[str, Any]:
        """The create body of a valid form."""
        return runspec.create_body(self.cleaned_data)
