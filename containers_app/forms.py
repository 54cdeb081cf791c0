"""The Run form: what people type, checked field by field, laid over what a container has already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext_lazy as _

from containers_app import fields, runspec, variables
from containers_app.rules import PARSERS, judge
from containers_app.sections import RESTARTS

TEXT_MAX_CHARS = 256 * 1024
LINE_MAX_CHARS = 4096
PIDS_MAX = 4_194_304  # Kernel: PID_MAX_LIMIT
CPUS_MAX = Decimal(1024)
MICROSECONDS_MAX = 10**12  # eleven days: engines take less


class _Lines(forms.CharField):
    """Text without the browser's own bound, which cuts a paste without a word: half of it would be taken."""

    def __init__(self, *, max_chars: int, **more: Any) -> None:
        self.max_chars = max_chars
        super().__init__(required=False, **more)
        words = _("This is too long: %(limit_value)d characters at most.")
        self.validators.append(MaxLengthValidator(max_chars, words))

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"data-max-chars": self.max_chars}


def _area(rows: int, placeholder: str) -> forms.Textarea:
    return forms.Textarea(
        attrs={"rows": rows, "placeholder": placeholder, "spellcheck": "false", "autocapitalize": "off"}
    )


def _lines(label: Any, placeholder: str = "", help_text: Any = "", rows: int = 2) -> forms.CharField:
    return _Lines(
        label=label,
        max_chars=TEXT_MAX_CHARS,
        help_text=help_text,
        widget=_area(rows, placeholder),
    )


def _text(
    label: Any, placeholder: str = "", help_text: Any = "", max_length: int = LINE_MAX_CHARS
) -> forms.CharField:
    attrs = {"placeholder": placeholder, "spellcheck": "false", "autocapitalize": "off"}
    return _Lines(
        label=label,
        max_chars=max_length,
        help_text=help_text,
        widget=forms.TextInput(attrs=attrs),
    )


def _box(label: Any, help_text: Any = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, help_text=help_text)


def _number(label: Any, low: int, high: int, help_text: Any = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, min_value=low, max_value=high, help_text=help_text)


class RunForm(forms.Form):
    """``body()`` of a valid form is a create body: ``base`` with the fields that were changed."""

    image = forms.CharField(label=_("Image"), max_length=512)
    name = forms.RegexField(
        label=_("Name"),
        regex=rf"^{runspec.NAME.pattern}$",
        required=False,
        max_length=253,
        help_text=_("Chosen for you when left empty."),
        error_messages={
            "invalid": _("A name starts with a letter or digit and goes on with those, _ . or -")
        },
    )
    command = _text(_("Command"), "", _("Instead of the image's own."), TEXT_MAX_CHARS)
    ports = _lines(_("Ports"), "8080:80/tcp", _("[address:][public:]port[/protocol], one a line"))
    env = _lines(_("Environment"), "KEY=VALUE", _("A .env file can be pasted or dropped here."), rows=4)
    volumes = _lines(_("Volumes"), "data:/var/lib/data", _("volume:/path[:ro], /host/path:/path, or /path"))

    entrypoint = _text(_("Entrypoint"), "", _("'' for none, though the image has one"), TEXT_MAX_CHARS)
    workdir = _text(_("Working directory"), "/srv")
    user = _text(_("User"), "1000:1000", max_length=255)
    group_add = _lines(_("Further groups"), "audio")
    stop_signal = _text(_("Stop signal"), "TERM", max_length=32)
    stop_timeout = _number(_("Seconds to stop in"), -1, 86400, _("then it is killed"))

    network = _lines(
        _("Networks"),
        "shop alias=web ip=10.0.0.9",
        _("a name each line, behind it alias=, ip=, ip6=, mac= and more; or host, none"),
    )
    links = _lines(_("Links"), "db:database", _("container, or container:name for it"))
    hostname = _text(_("Host name"), max_length=64)
    domainname = _text(_("Domain name"), max_length=253)
    extra_hosts = _lines(_("Further hosts"), "db:10.0.0.5", _("name:address lines for /etc/hosts"))
    dns = _lines(_("DNS servers"), "10.0.0.53")
    dns_search = _lines(_("DNS search domains"), "example.org")
    dns_options = _lines(_("DNS options"), "ndots:2")
    expose = _lines(_("Exposed ports"), "80/tcp", _("known to others, not published"))

    mounts = _lines(
        _("Mounts"),
        "type=bind,source=/srv,target=/data,readonly",
        _("type=bind, volume or tmpfs; bind-propagation=, volume-nocopy, tmpfs-size=, tmpfs-mode= and more"),
    )
    tmpfs = _lines(_("In memory (tmpfs)"), "/run:size=64m")
    volumes_from = _lines(_("Volumes of other containers"), "web:ro")
    volume_driver = _text(_("Volume driver"), "local", _("of volumes this form makes"), 255)
    storage_opt = _lines(
        _("Storage options"), "size=20G", _("webdock’s own engine has none; some of Docker’s do")
    )

    memory = _text(_("Memory"), "512m", max_length=32)
    memory_reservation = _text(_("Memory it shall keep"), "256m", max_length=32)
    memory_swap = _text(_("Memory and swap"), "1g", _("-1 for swap without a limit"), 32)
    memory_swappiness = _number(_("Swappiness"), -1, 100, _("0 swaps last"))
    cpus = forms.DecimalField(
        label=_("CPUs"),
        required=False,
        min_value=Decimal("0.01"),
        max_value=CPUS_MAX,
        max_digits=14,
        decimal_places=9,
    )
    cpu_shares = _number(_("CPU shares"), 2, 262144, _("against others; 1024 is usual"))
    cpuset_cpus = _text(_("On these CPUs"), "0-3,5", max_length=255)
    cpuset_mems = _text(_("On these memory nodes"), "0", max_length=255)
    cpu_period = _number(
        _("CPU period"), 1000, 1_000_000, _("microseconds; goes with a quota, not with CPUs")
    )
    cpu_quota = _number(_("CPU quota"), -1, MICROSECONDS_MAX, _("microseconds of each period"))
    cpu_rt_period = _number(_("Real-time period"), 0, MICROSECONDS_MAX, _("microseconds"))
    cpu_rt_runtime = _number(_("Real-time in each"), 0, MICROSECONDS_MAX, _("microseconds"))
    pids = _number(_("Processes"), -1, PIDS_MAX, _("-1 for no limit"))
    shm_size = _text(_("Shared memory"), "64m", max_length=32)
    oom_score_adj = _number(_("OOM score"), -1000, 1000, _("higher is killed earlier"))
    oom_kill_disable = _box(_("Never kill it for memory"), _("it waits instead; best with a limit"))
    device_read_bps = _lines(_("Bytes read a second"), "/dev/sda:10m")
    device_write_bps = _lines(_("Bytes written a second"), "/dev/sda:10m")
    device_read_iops = _lines(_("Reads a second"), "/dev/sda:1000")
    device_write_iops = _lines(_("Writes a second"), "/dev/sda:1000")
    blkio_weight = _number(_("Disk weight"), 10, 1000, _("against others; 500 is usual"))
    blkio_weight_device = _lines(_("Disk weight of a device"), "/dev/sda:500")
    cgroup_parent = _text(_("Control group it is in"), "shop", max_length=LINE_MAX_CHARS)
    ulimits = _lines(_("Ulimits"), "nofile=1024:2048")

    restart = forms.CharField(label=_("Restart"), required=False, widget=forms.Select(choices=RESTARTS))
    health_cmd = _text(
        _("Health check"),
        "curl -f http://localhost",
        _('a shell command, ["a", "list"], or none'),
        TEXT_MAX_CHARS,
    )
    health_interval = _text(_("Check every"), "30s", max_length=32)
    health_timeout = _text(_("Check time-out"), "30s", max_length=32)
    health_start_period = _text(_("Time to start"), "10s", max_length=32)
    health_start_interval = _text(_("Check every, while it starts"), "5s", max_length=32)
    health_retries = _number(_("Failures until unhealthy"), 1, 1000)

    cap_add = _lines(_("Add capabilities"), "NET_ADMIN")
    cap_drop = _lines(_("Drop capabilities"), "ALL")
    devices = _lines(_("Devices"), "/dev/ttyUSB0:/dev/ttyUSB0:rw")
    device_rules = _lines(_("Device rules"), "c 188:* rwm")
    sysctls = _lines(_("Kernel settings"), "net.core.somaxconn=1024")
    security_opt = _lines(_("Security options"), "no-new-privileges")
    userns_mode = _text(_("User namespace"), "host", _("host for the machine's own ids"), 255)
    pid_mode = _text(_("Process namespace"), "container:web", max_length=255)
    ipc_mode = _text(_("IPC namespace"), "shareable", max_length=255)
    uts_mode = _text(_("Host name namespace"), "host", max_length=255)
    cgroupns_mode = _text(_("Control group namespace"), "private", max_length=32)
    runtime = _text(_("Runtime"), "crun", max_length=64)

    labels = _lines(_("Labels"), "key=value")
    annotations = _lines(_("Annotations"), "key=value", _("handed to the OCI runtime"))
    platform = _text(_("Platform"), "linux/arm64", _("of the image; this machine's when left empty"), 64)
    log_driver = _text(_("Log driver"), "json-file", max_length=64)
    log_opts = _lines(_("Log options"), "max-size=10m")

    tty = _box(_("Terminal (TTY)"))
    open_stdin = _box(_("Keep standard input open"))
    auto_remove = _box(_("Remove when it exits"))
    init = _box(_("Small init"), _("reaps what its programs leave"))
    read_only = _box(_("Read-only root"), _("files change in volumes alone"))
    publish_all = _box(_("Publish all exposed ports"))
    privileged = _box(_("Privileged"), _("it may do anything to this machine"))

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, base: Mapping[str, Any] | None = None, **more: Any
    ):
        self.base: dict[str, Any] = dict(base or {})
        self._judges_masks = base is not None  # else only notations are looked at
        texts = fields.texts_of(self.base)
        super().__init__(data, initial={**texts, **(more.pop("initial", None) or {})}, **more)
        self._texts = texts
        choices = list(RESTARTS)
        if texts["restart"] not in dict(choices):  # a number of its own
            choices.append((texts["restart"], texts["restart"]))
        self.fields["restart"].widget.choices = choices

    # What was typed, against what stood there

    def changed(self, name: str) -> bool:
        """Whether a field says something else than the base; a text that was not sent says nothing."""
        before = self._texts.get(name, "")  # a name and a platform are no part of a body
        if isinstance(before, bool):
            return bool(self.cleaned_data.get(name)) != before
        return name in self.data and _plain(self.data.get(name)) != _plain(before)

    def _parsed(self, field: str, parse: Callable[[str], Any]) -> Any:
        text = self.cleaned_data[field]
        if not text or not self.changed(field):
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from None

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        for name in fields.FIELDS:
            if name in self.errors and name != "image" and not self.changed(name):
                del self.errors[name]  # strange as it is, the engine took it
                self.cleaned_data[name] = None
        for name, parse in PARSERS.items():
            if name in self.cleaned_data and name in self.fields:
                try:
                    self.cleaned_data[name] = self._parsed(name, parse)
                except ValidationError as error:
                    self.add_error(name, error)

    def clean_image(self) -> str:
        image: str = self.cleaned_data["image"].strip()
        if any(sign.isspace() for sign in image) or image.startswith("-"):
            raise ValidationError(_("This is not the name of an image."), code="invalid")
        return image

    def clean_cpus(self) -> int | None:
        cpus = self.cleaned_data["cpus"]
        return None if cpus is None else int(cpus * 10**9)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        restarts = self.data.get("restart") or "no"
        if cleaned.get("auto_remove") and restarts != "no":
            self.add_error(
                "auto_remove", _("A container that is removed when it exits cannot be restarted as well.")
            )
        if cleaned.get("env") and self._judges_masks:
            try:
                cleaned["env"] = variables.unmasked(cleaned["env"], self.base.get("Env") or [])
            except ValueError as error:
                self.add_error("env", str(error))
        if not self.errors:
            for name, words in judge(self.body(), self.changed):
                self.add_error(name, words)
        return cleaned

    def remarks(self) -> dict[str, list[str]]:
        """What is worth a word though nothing is wrong: {field: [sentences]}."""
        try:
            found = variables.remarks(str(self.data.get("env") or ""))
        except ValueError:
            found = []  # said as an error
        return {"env": found} if found else {}

    def body(self) -> dict[str, Any]:
        """The create body of a valid form."""
        asked = {name: self.cleaned_data[name] for name in fields.FIELDS if self.changed(name)}
        return fields.overlay(self.base, asked)


def _plain(text: Any) -> str:
    return "\n".join(str("" if text is None else text).split("\r\n")).strip()


def labels() -> dict[str, str]:
    """Field name -> what the form calls it, in the reader's language."""
    return {name: str(field.label) for name, field in RunForm.base_fields.items()}
