"""One row per long job: who, what, when, what became of it. Progress itself is in memory (``running``)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Job(models.Model):
    """One long job; written when it begins and when it ends."""

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    id = models.CharField(primary_key=True, max_length=32)  # a UUID's hexadecimal digits
    kind = models.CharField(max_length=32)  # "pull", "push", "recreate": words.py has the sentences
    engine = models.CharField(max_length=50, blank=True, default="")
    object_kind = models.CharField(max_length=32, blank=True, default="")  # what the subject is: "container"
    subject = models.CharField(max_length=512, blank=True, default="")  # an id, or a reference
    name = models.CharField(max_length=512, blank=True, default="")  # what people read
    url = models.CharField(max_length=600, blank=True, default="")  # the page of what it made or changed
    username = models.CharField(max_length=150, blank=True, default="")  # outlives the account
    sees = models.CharField(max_length=32, default="view")  # the right to see it
    cancels = models.CharField(max_length=32, default="operate")  # the right to cancel it; "" for nobody
    owner_id = models.BigIntegerField(null=True, blank=True)  # of what it works on; both empty: everybody's
    team_id = models.BigIntegerField(null=True, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING)
    message = models.TextField(blank=True, default="")  # the outcome, for people
    current = models.BigIntegerField(default=0)  # bytes or steps, as far as a total is known
    total = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    process = models.CharField(max_length=32, default="")  # the web process that runs it
    seen_at = models.DateTimeField()  # its last sign of life
    cancel_asked = models.BooleanField(default=False)  # in another web process

    class Meta:
        ordering = ["-started_at"]
        indexes = [
            models.Index(fields=["-started_at"], name="job_started"),  # the page, and what is forgotten
            models.Index(fields=["state"], name="job_state"),  # those that run
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.subject}"
