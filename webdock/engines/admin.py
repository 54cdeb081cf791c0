"""Engines and the audit trail in the admin: to read."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from webdock.engines.models import AuditEntry, Engine


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that nobody may add, change or delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    has_module_permission = has_view_permission  # type: ignore[assignment]


@admin.register(Engine)
class EngineAdmin(ReadOnlyAdmin):
    list_display = ("alias", "kind", "version", "connected", "last_seen")
    fields = ("alias", "kind", "version", "connected", "last_seen", "error", "uid")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "username", "address", "action", "object_name", "result", "duration_ms")
    list_filter = ("result", "action", "engine")
    search_fields = ("username", "action", "object_name", "object_id", "address")
    date_hierarchy = "at"
    list_select_related = ("user",)
