"""Containers in the admin: observed fields to read, the inspect document, and actions that go the same way as
the buttons of the pages."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from containers_app.models import Container, TerminalSession
from containers_app.verbs import perform_many
from webdock.engines.admin import ReadOnlyAdmin
from webdock.engines.audit import Actor, request_address
from webdock.engines.observed_admin import ObservedAdmin


def _ask(request: HttpRequest, chosen: QuerySet[Container], verb: str, **options: Any) -> None:
    actor = Actor(request.user.pk, request.user.get_username(), request_address(request))
    for _container, outcome in async_to_sync(perform_many)(actor, list(chosen), verb, options):
        messages.add_message(request, messages.SUCCESS if outcome.ok else messages.ERROR, outcome.message)


@admin.register(Container)
class ContainerAdmin(ObservedAdmin):
    list_display = ("name", "state", "image", "status_text", "short_id", "engine", "created_at")
    list_filter = ("state", "health", "engine")
    search_fields = ("name", "image", "container_id", "command")
    ordering = ("name",)
    actions = ("start", "stop", "restart", "kill", "remove", "force_remove")

    @admin.action(description=_("Start"))
    def start(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "start")

    @admin.action(description=_("Stop"))
    def stop(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "stop")

    @admin.action(description=_("Restart"))
    def restart(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "restart")

    @admin.action(description=_("Kill"))
    def kill(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "kill", signal="KILL")

    @admin.action(description=_("Remove (stopped ones)"))
    def remove(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "remove", force=False, volumes=False)

    @admin.action(description=_("Kill and remove"))
    def force_remove(self, request: HttpRequest, chosen: QuerySet[Container]) -> None:
        _ask(request, chosen, "remove", force=True, volumes=False)


@admin.register(TerminalSession)
class TerminalSessionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "user", "title", "container_id", "kind", "address", "ended_at", "exit_code")
    list_filter = ("kind",)
    search_fields = ("title", "container_id", "user__username")
    list_select_related = ("user", "engine")
