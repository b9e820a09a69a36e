"""Operations in the admin: read, never written. They change only through the engine's services."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin

from .models import ApprovalRule, Batch, Operation, Schedule, Step


class StepInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Step
    fields = readonly_fields = (
        "position",
        "name",
        "is_undo",
        "state",
        "tries",
        "started_at",
        "finished_at",
        "detail",
    )
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # the operation's own page has been asked already

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NeverDeleted(ReadOnlyAdmin):
    """What was done stays done."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Operation)
class OperationAdmin(NeverDeleted):
    list_display = (
        "id",
        "kind",
        "target_label",
        "state",
        "actor",
        "via",
        "reason",
        "created_at",
        "finished_at",
    )
    list_filter = ("state", "via", "is_undoing")
    list_select_related = ("actor",)
    search_fields = ("=id", "=target_id")
    search_help_text = "id of the operation or of its target"
    inlines = (StepInline,)


@admin.register(Batch)
class BatchAdmin(NeverDeleted):
    list_display = ("id", "kind", "total", "actor", "reason", "created_at")
    list_select_related = ("actor",)
    ordering = ("-created_at",)


@admin.register(ApprovalRule)
class ApprovalRuleAdmin(FixAdmin):
    """Policy of the whole company."""

    on_everything = True
    list_display = ("__str__", "kind", "min_targets", "is_enabled", "note")
    list_filter = ("is_enabled",)
    list_select_related = ("scope",)
    search_fields = ("kind", "note")
    autocomplete_fields = ("scope",)


@admin.register(Schedule)
class ScheduleAdmin(FixAdmin):
    """A schedule acts with its owner's rights, so whoever says what it does becomes its owner."""

    on_everything = True
    list_display = (
        "name",
        "kind",
        "target_type",
        "target_id",
        "cron",
        "zone",
        "owner",
        "is_enabled",
        "next_at",
        "last_error",
    )
    list_filter = ("is_enabled", "kind")
    list_select_related = ("owner",)
    search_fields = ("name", "reason")
    fields = (
        "name", "kind", "target_type", "target_id", "params", "cron", "zone", "reason", "is_enabled",
        "owner", "next_at", "last_at", "last_error",
    )  # fmt: skip
    readonly_fields = ("owner", "next_at", "last_at", "last_error")

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        """Nobody makes a schedule of someone else do what they may not do themselves."""
        if not change or {"kind", "target_type", "target_id", "params"} & set(form.changed_data):
            user: Any = request.user
            obj.owner = user
        if {"cron", "zone", "is_enabled"} & set(form.changed_data):
            obj.next_at = None
        super().save_model(request, obj, form, change)
