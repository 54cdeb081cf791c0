"""Teams and roles in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from webdock.people.models import Quota, Role, Team
from webdock.people.roles import RIGHTS


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A role with its rights as boxes to tick."""

    rights = forms.MultipleChoiceField(
        label=_("rights"),
        choices=[(right, f"{right}: {words}") for right, words in RIGHTS.items()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("Asked only when the role is “only the rights listed”."),
    )

    class Meta:
        model = Role
        fields = ("user", "team", "engine", "role", "rights")

    def clean_rights(self) -> list[str]:
        chosen: list[str] = list(self.cleaned_data["rights"])
        return chosen


class RoleInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Role
    form = RoleForm
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name",)
    search_fields = ("name",)
    inlines = (RoleInline,)


@admin.register(Role)
class RoleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = RoleForm
    list_display = ("user", "team", "engine", "role", "listed")
    list_filter = ("role", "team")
    search_fields = ("user__username",)
    list_select_related = ("user", "team", "engine")
    autocomplete_fields = ("user",)

    @admin.display(description=_("rights"))
    def listed(self, role: Role) -> Any:
        return ", ".join(role.rights) if role.role == Role.Name.CUSTOM else "–"


@admin.register(Quota)
class QuotaAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "team", "containers", "memory_mib", "cpus", "disk_mib")
    autocomplete_fields = ("user", "team")
    list_select_related = ("user", "team")
