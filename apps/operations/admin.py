"""Operations in the admin: read, never written. They change only through the engine's services."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin, given_reason

from .models import ApprovalRule, ApprovalRuleChange, Batch, Operation, Schedule, Step
from .plans import Refused
from .rules import change_rule


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
    """Policy of the whole company. An edit by which a rule asks for less waits for a second person; so does its end."""

    on_everything = True
    actions = ()
    list_display = ("__str__", "kind", "min_targets", "is_enabled", "note")
    list_filter = ("is_enabled",)
    list_select_related = ("scope",)
    search_fields = ("kind", "note")
    autocomplete_fields = ("scope",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never here: the page of the approval rules proposes it."""
        return False

    def save_model(self, request: HttpRequest, obj: ApprovalRule, form: Any, change: bool) -> None:
        """Through the service, which writes the rule or has the edit wait."""
        try:
            obj.proposal = change_rule(obj, actor=request.user, reason=given_reason(request))
        except Refused as refusal:
            raise PermissionDenied(str(refusal)) from refusal

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The service has told it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The service has told it."""

    def response_change(self, request: HttpRequest, obj: ApprovalRule) -> HttpResponse:
        """On to the page where the second person decides, where one is needed."""
        if obj.proposal is None:
            return super().response_change(request, obj)
        messages.warning(
            request, "The rule would ask for less: it stays as it is until a second person agrees."
        )
        return redirect("operations:approval_rules")


@admin.register(ApprovalRuleChange)
class ApprovalRuleChangeAdmin(NeverDeleted):
    """Proposed and decided on the page of the approval rules."""

    on_everything = True
    list_display = ("label", "deletes", "state", "proposed_by", "decided_by", "reason", "created_at")
    list_filter = ("state",)
    list_select_related = ("proposed_by", "decided_by")
    search_fields = ("label", "reason")


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
