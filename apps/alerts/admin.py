"""Alerting in the admin: what monitors and the clock write is read; what people decide can be put right."""

from django.contrib import admin
from django.http import HttpRequest

from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin

from .models import (
    Alert,
    AlertRule,
    Channel,
    CustomerNotice,
    Delivery,
    Escalation,
    EscalationPolicy,
    EscalationStep,
    Heartbeat,
    Incident,
    IncidentEvent,
    IncidentNote,
    OnCallMember,
    OnCallOverride,
    OnCallSchedule,
    Page,
    RecoveryDecision,
    RecoveryPolicy,
    Runbook,
    RunbookRun,
    RunbookSchedule,
    RunbookStep,
    RunbookVersion,
    SeenSignature,
    Signal,
    SignalCount,
    Silence,
    Source,
    TelemetrySource,
)


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    list_display = ("id", "name", "state", "severity", "source_name", "received_at", "processed_at")
    list_filter = ("state", "severity")
    search_fields = ("=fingerprint", "=name")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("id", "name", "state", "severity", "summary", "source_name", "opened_at", "resolved_at")
    list_filter = ("state", "severity")
    search_fields = ("=fingerprint", "summary")


@admin.register(SignalCount)
class SignalCountAdmin(ReadOnlyAdmin):
    on_everything = True
    list_display = ("day", "source_name", "outcome", "requests", "signals")


@admin.register(SeenSignature)
class SeenSignatureAdmin(ReadOnlyAdmin):
    on_everything = True
    list_display = ("source", "at")
    list_select_related = ("source",)


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    """An incident moves with its alerts and by its page's buttons."""

    list_display = ("id", "title", "state", "severity", "commander", "opened_at", "resolved_at")
    list_filter = ("state", "severity")
    list_select_related = ("commander",)
    search_fields = ("title", "=id")


@admin.register(IncidentEvent)
class IncidentEventAdmin(ReadOnlyAdmin):
    list_display = ("incident", "event_id")
    list_select_related = ("incident",)


@admin.register(IncidentNote)
class IncidentNoteAdmin(FixAdmin):
    """For a note that holds what it must not, such as a password."""

    list_display = ("incident", "author", "created_at")
    list_select_related = ("incident", "author")
    fields = ("text",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Silence)
class SilenceAdmin(FixAdmin):
    list_display = ("__str__", "starts_at", "ends_at", "author", "reason")
    list_select_related = ("instance", "cell", "account", "author")
    raw_id_fields = ("instance",)


class EverybodysAdmin(FixAdmin):
    """What belongs to the whole company."""

    on_everything = True


@admin.register(Source)
class SourceAdmin(EverybodysAdmin):
    """New ones are made on their page, which shows the token once."""

    list_display = ("name", "kind", "account", "is_enabled", "last_at")
    list_select_related = ("account",)
    fields = ("name", "account", "is_enabled")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Heartbeat)
class HeartbeatAdmin(EverybodysAdmin):
    list_display = ("name", "every", "grace", "severity", "is_enabled", "last_at", "is_late")
    fields = ("name", "every", "grace", "severity", "account", "is_enabled")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Channel)
class ChannelAdmin(EverybodysAdmin):
    """Its address is neither shown nor changed here."""

    list_display = ("name", "owner", "rank", "scheme", "is_enabled")
    list_select_related = ("owner",)
    fields = ("name", "owner", "rank", "is_enabled")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(OnCallSchedule)
class OnCallScheduleAdmin(EverybodysAdmin):
    list_display = ("name", "zone", "handover", "days", "starts_on")


@admin.register(OnCallMember)
class OnCallMemberAdmin(EverybodysAdmin):
    list_display = ("schedule", "position", "user")
    list_select_related = ("schedule", "user")


@admin.register(OnCallOverride)
class OnCallOverrideAdmin(EverybodysAdmin):
    list_display = ("schedule", "user", "starts_at", "ends_at", "reason")
    list_select_related = ("schedule", "user")


@admin.register(EscalationPolicy)
class EscalationPolicyAdmin(EverybodysAdmin):
    list_display = ("name", "rank", "min_severity", "account", "repeats", "is_enabled")
    list_select_related = ("account",)


@admin.register(EscalationStep)
class EscalationStepAdmin(EverybodysAdmin):
    list_display = ("policy", "position", "schedule", "channel", "wait")
    list_select_related = ("policy", "schedule", "channel")


@admin.register(Escalation)
class EscalationAdmin(ReadOnlyAdmin):
    list_display = ("incident", "policy", "state", "turn", "next_at")
    list_select_related = ("incident", "policy")


@admin.register(Page)
class PageAdmin(ReadOnlyAdmin):
    list_display = ("id", "title", "recipient", "state", "tries", "created_at", "ended_at", "may_repeat")
    list_filter = ("state",)
    list_select_related = ("recipient",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "page", "channel", "at", "is_ok", "detail", "took_ms")
    list_select_related = ("page", "channel")


@admin.register(RecoveryPolicy)
class RecoveryPolicyAdmin(FixAdmin):
    """Limits and switches. What it answers with, and where, is said on its page: there the remedy's permission is asked for."""

    list_display = (
        "name",
        "alert_name",
        "remedy",
        "account",
        "cell",
        "is_enabled",
        "is_dry_run",
        "broken_at",
    )
    list_select_related = ("account", "cell")
    fields = (
        "name",
        "is_enabled",
        "is_dry_run",
        "cooldown",
        "tries",
        "per_cell",
        "per_fleet",
        "grace",
        "breaker_after",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(RecoveryDecision)
class RecoveryDecisionAdmin(ReadOnlyAdmin):
    list_display = ("id", "policy", "alert", "verdict", "state", "why", "result", "operation_id", "at")
    list_filter = ("verdict", "state")
    list_select_related = ("policy", "alert")


@admin.register(Runbook)
class RunbookAdmin(ReadOnlyAdmin):
    """Changed on its page, where each change is a version."""

    on_everything = True
    list_display = ("name", "title", "is_enabled")
    search_fields = ("name", "title")


@admin.register(RunbookVersion)
class RunbookVersionAdmin(ReadOnlyAdmin):
    on_everything = True
    list_display = ("runbook", "number", "author", "note")
    list_select_related = ("runbook", "author")


@admin.register(RunbookRun)
class RunbookRunAdmin(ReadOnlyAdmin):
    list_display = ("id", "version", "instance", "state", "actor", "started_at")
    list_select_related = ("version", "instance", "actor")
    list_filter = ("state",)
    search_fields = ("=id", "instance__name")


@admin.register(RunbookStep)
class RunbookStepAdmin(ReadOnlyAdmin):
    list_display = ("run", "number", "title", "state", "operation_id")
    list_select_related = ("run",)
    search_fields = ("=run__id",)


@admin.register(AlertRule)
class AlertRuleAdmin(ReadOnlyAdmin):
    """Changed on its page, where its place is asked for."""

    list_display = ("name", "kind", "severity", "account", "cell", "is_enabled", "evaluated_at", "error")
    list_select_related = ("account", "cell")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name",)


@admin.register(TelemetrySource)
class TelemetrySourceAdmin(ReadOnlyAdmin):
    """Read here, changed on its page: addresses are checked and tokens sealed there."""

    on_everything = True
    list_display = ("name", "account", "cell", "prometheus_url", "loki_url", "is_enabled")
    exclude = ("prometheus_token_sealed", "loki_token_sealed")


@admin.register(CustomerNotice)
class CustomerNoticeAdmin(ReadOnlyAdmin):
    list_display = ("id", "incident", "stage", "subject", "author", "created_at")
    list_select_related = ("incident", "author")


@admin.register(RunbookSchedule)
class RunbookScheduleAdmin(ReadOnlyAdmin):
    """Kept on its page: whoever keeps it is whose rights it runs with."""

    list_display = (
        "name",
        "runbook",
        "instance",
        "cron",
        "zone",
        "owner",
        "is_enabled",
        "next_at",
        "last_error",
    )
    list_select_related = ("runbook", "instance", "owner")
