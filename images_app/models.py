"""Images and their tags as they were seen. No engine calls; observed fields are written by the projection."""

from __future__ import annotations

from django.db import models

from webdock.engines.models import Engine

SHORT_ID_CHARS = 12
ID_PREFIX = "sha256:"


class Image(models.Model):
    """One image of one engine, as last seen."""

    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="images")
    # observed
    image_id = models.CharField(max_length=80)  # "sha256:..."
    size_bytes = models.BigIntegerField(default=0)
    shared_bytes = models.BigIntegerField(default=-1)  # in layers other images have as well; -1 not known
    created_at = models.DateTimeField(null=True, blank=True)
    platform = models.CharField(max_length=64, blank=True, default="")  # "linux/amd64"
    digests = models.JSONField(default=list, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    revision = models.BigIntegerField(default=0)
    removed_at = models.DateTimeField(null=True, blank=True)  # a tombstone until the pages have heard of it
    inspect = models.JSONField(default=dict, blank=True)  # last column: lists defer it

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["engine", "image_id"], name="one_row_per_image")]
        indexes = [
            models.Index(fields=["removed_at", "created_at"], name="image_created"),  # the list sorted by age
            models.Index(fields=["revision"], name="image_revision"),  # rows newer than a cursor
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def unique_bytes(self) -> int:
        """What removing it alone would free; -1 when that is not known."""
        return self.size_bytes - self.shared_bytes if self.shared_bytes >= 0 else -1

    @property
    def short_id(self) -> str:
        return self.image_id.removeprefix(ID_PREFIX)[:SHORT_ID_CHARS]

    @property
    def hex_id(self) -> str:
        """The id as URLs carry it, without the algorithm."""
        return self.image_id.removeprefix(ID_PREFIX)

    @property
    def tags(self) -> list[str]:
        """Its names, sorted; prefetch ``tag_rows`` for lists."""
        return sorted(tag.name for tag in self.tag_rows.all())

    @property
    def name(self) -> str:
        """The first tag, or the short id."""
        return next(iter(self.tags), self.short_id)

    def get_absolute_url(self) -> str:
        from django.urls import reverse

        return reverse("image-detail", args=[self.hex_id])


class ImageTag(models.Model):
    """A name that points to one image at a time."""

    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=512)  # "redis:8"
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="tag_rows")

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["engine", "name"], name="one_image_per_tag")]

    def __str__(self) -> str:
        return self.name


def listed() -> models.QuerySet[Image]:
    """Images as lists show them: without tombstones and inspect documents, with their tags."""
    return (
        Image.objects.filter(removed_at=None)
        .defer("inspect")
        .select_related("engine")
        .prefetch_related("tag_rows")
    )
