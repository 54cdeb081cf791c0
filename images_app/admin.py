"""Images in the admin: observed fields to read, the inspect document, and removal the way of the pages."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from images_app.models import Image
from images_app.verbs import remove
from webdock.engines.audit import Actor, request_address
from webdock.engines.observed_admin import ObservedAdmin
from webdock.engines.sizes import disk_size


@admin.register(Image)
class ImageAdmin(ObservedAdmin):
    list_display = ("name", "all_tags", "size", "short_id", "platform", "engine", "created_at")
    list_filter = ("platform", "engine")
    search_fields = ("tag_rows__name", "image_id")
    ordering = ("-created_at",)
    actions = ("remove", "force_remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        rows: QuerySet[Image] = super().get_queryset(request).prefetch_related("tag_rows")
        return rows

    @admin.display(description=_("Tags"))
    def all_tags(self, image: Image) -> str:
        return ", ".join(image.tags)

    @admin.display(description=_("Size"), ordering="size_bytes")
    def size(self, image: Image) -> str:
        return disk_size(image.size_bytes)

    @admin.action(description=_("Remove"))
    def remove(self, request: HttpRequest, chosen: QuerySet[Image]) -> None:
        self._remove(request, chosen, force=False)

    @admin.action(description=_("Remove even when used by stopped containers"))
    def force_remove(self, request: HttpRequest, chosen: QuerySet[Image]) -> None:
        self._remove(request, chosen, force=True)

    @staticmethod
    def _remove(request: HttpRequest, chosen: QuerySet[Image], *, force: bool) -> None:
        actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
        for image in chosen:
            outcome = async_to_sync(remove)(actor, image, force=force)
            messages.add_message(request, messages.SUCCESS if outcome.ok else messages.ERROR, outcome.message)
