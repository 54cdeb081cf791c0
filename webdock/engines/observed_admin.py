"""Admin pages of what was seen: every observed field read-only, and the inspect document below them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse


class ObservedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Nothing is added, changed or deleted as a row: what happens to the object goes through its engine."""

    change_form_template = "admin/observed_change_form.html"
    exclude = ("inspect",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(removed_at=None).defer("inspect").select_related("engine")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [field.name for field in self.model._meta.fields if field.name not in ("id", "inspect")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    has_view_permission = has_change_permission
    has_module_permission = has_change_permission

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        seen = self.get_object(request, object_id)
        extra = {
            "document": getattr(seen, "inspect", {}),
            "show_save": False,
            "show_save_and_continue": False,
            "filename": str(seen),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, extra)
