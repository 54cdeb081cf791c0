"""The password of a registry, encrypted. How a registry is spoken to the engine keeps (mirrors, CAs)."""

from __future__ import annotations

from django.db import models


class Credential(models.Model):
    """What is sent to one registry, and to no other host, when images are pulled from it and pushed to it."""

    host = models.CharField(max_length=255, unique=True)  # as references name it: "docker.io", "[::1]:5000"
    username = models.CharField(max_length=255)
    sealed = models.BinaryField()  # the password; sealing.py opens it
    saved_at = models.DateTimeField(auto_now=True)
    saved_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["host"]

    def __str__(self) -> str:
        return f"{self.username}@{self.host}"
