"""Containers as they were seen, and the terminals people opened. No engine calls.

Fields marked observed are written by ``projection.py`` alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from webdock.engines import secrets
from webdock.engines.durations import ago, human_duration
from webdock.engines.models import Engine
from webdock.people.belongings import seen

SHORT_ID_CHARS = 12
HEALTH_WORDS = (
    _lazy("healthy"),
    _lazy("unhealthy"),
    _lazy("starting"),
)  # what engines report, for the catalogue

VERBS_BY_STATE = {
    "created": ("start", "remove", "rename"),
    "running": ("stop", "restart", "kill", "pause", "remove", "rename"),
    "paused": ("unpause", "stop", "kill", "remove", "rename"),
    "restarting": ("stop", "restart", "kill", "remove", "rename"),
    "exited": ("start", "restart", "remove", "rename"),
    "dead": ("remove",),
    "removing": (),
}
ALIVE = ("running", "paused", "restarting")


class SeenContainers(models.Manager["Container"]):
    """Those the person who looks may know of; for the sync all of them."""

    def get_queryset(self) -> models.QuerySet[Container]:
        return seen("container", super().get_queryset(), "container_id")


class Container(models.Model):
    """One container of one engine, as last seen."""

    class State(models.TextChoices):
        CREATED = "created", _lazy("created")
        RUNNING = "running", _lazy("running")
        PAUSED = "paused", _lazy("paused")
        RESTARTING = "restarting", _lazy("restarting")
        REMOVING = "removing", _lazy("removing")
        EXITED = "exited", _lazy("exited")
        DEAD = "dead", _lazy("dead")

    objects = SeenContainers()
    everything = models.Manager["Container"]()  # for the projection: a row nobody may see is still there

    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="containers")
    # observed
    container_id = models.CharField(max_length=64)
    name = models.CharField(max_length=255)
    image = models.CharField(max_length=512)  # as given: "redis:8"
    image_id = models.CharField(max_length=80, blank=True, default="")  # "sha256:..."
    command = models.TextField(blank=True, default="")
    state = models.CharField(max_length=16, choices=State.choices, default=State.CREATED)
    exit_code = models.IntegerField(null=True, blank=True)  # of the last exit; None before the first
    oom_killed = models.BooleanField(default=False)
    health = models.CharField(max_length=16, blank=True, default="")  # "", starting, healthy, unhealthy
    error = models.TextField(blank=True, default="")  # the engine's words when a start failed
    tty = models.BooleanField(default=False)
    created_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    ports = models.JSONField(default=list, blank=True)  # [{"private", "public", "type", "ip"}]
    labels = models.JSONField(default=dict, blank=True)
    networks = models.JSONField(default=list, blank=True)  # [{"name", "ip", "gateway", "mac", "aliases"}]
    revision = models.BigIntegerField(default=0)
    removed_at = models.DateTimeField(null=True, blank=True)  # a tombstone until the pages have heard of it
    inspect = models.JSONField(default=dict, blank=True)  # last column: lists defer it

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["engine", "container_id"], name="one_row_per_container"),
        ]
        indexes = [
            # Counts per state, and what the overview looks for in each.
            models.Index(fields=["removed_at", "state", "name"], name="container_state"),
            models.Index(fields=["removed_at", "health", "name"], name="container_health"),  # the unhealthy
            models.Index(
                fields=["removed_at", "name"], name="container_oom", condition=models.Q(oom_killed=True)
            ),  # killed for want of memory
            models.Index(fields=["removed_at", "name"], name="container_name"),  # the list sorted by name
            models.Index(fields=["removed_at", "created_at"], name="container_created"),  # sorted by age
            models.Index(fields=["revision"], name="container_revision"),  # rows newer than a cursor
            models.Index(fields=["image_id"], name="container_image"),  # who uses an image
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def audit_object(self) -> dict[str, str]:
        """What an audit row about it says that it is about."""
        return _audit_object(self.engine.alias, self.container_id, self.name)

    @property
    def short_id(self) -> str:
        return self.container_id[:SHORT_ID_CHARS]

    @property
    def command_shown(self) -> str:
        """The command without what looks like a secret."""
        return secrets.line(self.command)

    @property
    def alive(self) -> bool:
        """Has a main process, stopped or not."""
        return self.state in ALIVE

    @property
    def verbs(self) -> tuple[str, ...]:
        """What can be asked of it in this state."""
        return VERBS_BY_STATE.get(self.state, ())

    @property
    def status_text(self) -> str:
        """The state in the words of ``docker ps``: "Up 3 minutes (healthy)"."""
        now = timezone.now()
        code = self.exit_code or 0
        if self.state in ("running", "paused"):
            text = _("Up %(duration)s") % {
                "duration": human_duration(now - self.started_at) if self.started_at else "?"
            }
            if self.state == "paused":
                return _("%(up)s (Paused)") % {"up": text}
            return f"{text} ({_(self.health)})" if self.health else text
        if self.state == "restarting":
            return _("Restarting (%(code)d) %(ago)s") % {"code": code, "ago": ago(self.finished_at, now)}
        if self.state == "exited":
            return _("Exited (%(code)d) %(ago)s") % {"code": code, "ago": ago(self.finished_at, now)}
        if self.state == "removing":
            return _("Removal in progress")
        return _("Dead") if self.state == "dead" else _("Created")

    def get_absolute_url(self) -> str:
        from django.urls import reverse

        return reverse("container-detail", args=[self.container_id])


class TerminalSession(models.Model):
    """One terminal somebody opened: an exec session, or the main process attached."""

    class Kind(models.TextChoices):
        SHELL = "shell", _lazy("shell")
        ATTACH = "attach", _lazy("attach")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="+")
    container_id = models.CharField(max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    title = models.CharField(max_length=255)  # "bash", "redis-cli"
    exec_id = models.CharField(max_length=64, blank=True, default="")
    tty = models.BooleanField(default=True)
    started = models.BooleanField(default=False)  # the exec runs: join it, never start it again
    columns = models.PositiveSmallIntegerField(default=80)
    rows = models.PositiveSmallIntegerField(default=24)
    address = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(default=timezone.now)  # when a browser was last there, to some minutes
    ended_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    records = models.BooleanField(default=False)  # somebody asked for a recording, or the settings do

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["container_id", "ended_at"], name="terminal_container")]  # its tab

    def __str__(self) -> str:
        return f"{self.title} in {self.container_id[:SHORT_ID_CHARS]}"

    @property
    def audit_object(self) -> dict[str, str]:
        """What an audit row about it says that it is about: its container, by the terminal's name."""
        return _audit_object(self.engine.alias, self.container_id, self.title)


class TerminalGuest(models.Model):
    """Somebody else whom the owner of a session lets look on, or type."""

    session = models.ForeignKey(TerminalSession, on_delete=models.CASCADE, related_name="guests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    types = models.BooleanField(default=False)
    invited_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["invited_at"]
        constraints = [models.UniqueConstraint(fields=["session", "user"], name="terminal_guest")]

    def __str__(self) -> str:
        return f"{self.user} at {self.session}"


class Recreation(models.Model):
    """One container put in the place of another: how far it came, so that it is finished or undone whatever
    happens to this process. ``recreate.py`` says what the fields mean."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)  # the page's choice: sent twice, made once
    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    username = models.CharField(max_length=150, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    old_id = models.CharField(max_length=64)
    new_id = models.CharField(max_length=64, blank=True, default="")
    name = models.CharField(max_length=255)  # of the new one
    old_name = models.CharField(max_length=255)
    kept_name = models.CharField(max_length=255)  # of the old one while both are there
    body = models.JSONField(default=dict)  # emptied at the end: it has values that are secret
    networks = models.JSONField(default=list)
    changes = models.JSONField(default=list)  # [{"label", "before", "after"}], secrets masked
    was = models.CharField(max_length=16, blank=True, default="")
    start = models.BooleanField(default=True)
    step = models.CharField(max_length=16, default="asked")
    failure = models.TextField(blank=True, default="")
    warning = models.TextField(blank=True, default="")
    outcome = models.CharField(max_length=16, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    holder = models.UUIDField(null=True, blank=True)  # the process that works on it
    held_at = models.DateTimeField(null=True, blank=True)  # when that was last heard of

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["engine", "old_id"], condition=models.Q(outcome=""), name="one_recreation_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome or self.step}"

    told: Callable[[], None] | None = None  # called after each keep

    async def keep(self, *fields: str) -> None:
        """Write these fields down."""
        await self.asave(update_fields=fields)
        if self.told is not None:
            self.told()


class Recording(models.Model):
    """What a terminal showed from one moment to another; the output itself is a file beside the database."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(TerminalSession, null=True, on_delete=models.SET_NULL, related_name="+")
    engine_alias = models.CharField(max_length=64)
    container_id = models.CharField(max_length=64)
    container_name = models.CharField(max_length=255)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    username = models.CharField(max_length=150)  # whose terminal it was, also when the account is gone
    title = models.CharField(max_length=255)
    columns = models.PositiveSmallIntegerField()
    rows = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_s = models.FloatField(default=0)
    size_bytes = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["user", "-started_at"], name="recording_user")]  # one's own list

    def __str__(self) -> str:
        return f"recording of {self.title} in {self.container_name}"

    @property
    def audit_object(self) -> dict[str, str]:
        """What an audit row about it says that it is about: its container, by the terminal's name."""
        return _audit_object(self.engine_alias, self.container_id, self.title)


def _audit_object(engine: str, container_id: str, name: str) -> dict[str, str]:
    return {"engine": engine, "kind": "container", "id": container_id, "name": name}


def listed() -> Any:
    """Containers as lists show them: without tombstones and without their inspect documents."""
    return Container.objects.filter(removed_at=None).defer("inspect").select_related("engine")
