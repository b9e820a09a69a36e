"""Data fixes of releases and rules. What moves by services is shown: lives, rollouts, exposure."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin

from .models import (
    Advisory,
    AdvisoryMatch,
    Artifact,
    BlastPolicy,
    ClockAsk,
    ClockPolicy,
    ClockStep,
    Component,
    CustomerNotice,
    Exclusion,
    Exposure,
    Freeze,
    Hold,
    HotPatch,
    MetricSource,
    Release,
    ReleaseComponent,
    Ring,
    RingMember,
    Rollout,
    RolloutTarget,
    VexStatement,
    Wave,
    Window,
)


class ProductAdmin(FixAdmin):
    """Rows of the product: for who may fix data everywhere."""

    on_everything = True


class ShownAdmin(ReadOnlyAdmin):
    """Rows that services and watches write, on everything."""

    on_everything = True


@admin.register(Release)
class ReleaseAdmin(ProductAdmin):
    list_display = ("version", "kind", "severity", "life", "life_since", "released_at")
    list_filter = ("life", "kind")
    search_fields = ("version",)
    readonly_fields = ("life", "life_since", "released_at", "sbom_format", "sbom_sha256", "sbom_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A release that was announced stays: it can be withdrawn."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.life == "draft")


@admin.register(Artifact)
class ArtifactAdmin(ProductAdmin):
    list_display = ("name", "release", "sha256")
    list_select_related = ("release",)
    search_fields = ("name", "sha256")
    autocomplete_fields = ("release",)


@admin.register(Component)
class ComponentAdmin(ShownAdmin):
    list_display = ("package", "version")
    search_fields = ("package",)


@admin.register(ReleaseComponent)
class ReleaseComponentAdmin(ShownAdmin):
    list_display = ("release", "component")
    list_select_related = ("release", "component")
    search_fields = ("release__version",)


@admin.register(Rollout)
class RolloutAdmin(ReadOnlyAdmin):
    """Rollouts move by their own orders."""

    list_display = ("id", "release", "state", "reason", "started_by", "started_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("release", "started_by")
    search_fields = ("=id", "release__version", "reason")


@admin.register(Ring)
class RingAdmin(ShownAdmin):
    """Rings are changed on their page, which keeps their order whole."""

    list_display = ("name", "position", "rest_seconds", "description")
    search_fields = ("name",)


@admin.register(RingMember)
class RingMemberAdmin(ProductAdmin):
    list_display = ("ring", "tenant", "plan")
    list_select_related = ("ring", "tenant", "plan")
    search_fields = ("ring__name", "tenant__name", "tenant__key")
    autocomplete_fields = ("ring", "tenant", "plan")


@admin.register(Exclusion)
class ExclusionAdmin(ReadOnlyAdmin):
    """Frozen with its rollout."""

    list_display = ("rollout", "what", "label", "reason", "instances")
    list_select_related = ("rollout__release",)
    search_fields = ("=rollout__id", "label")


@admin.register(HotPatch)
class HotPatchAdmin(ReadOnlyAdmin):
    """Its rollout brings it, its watch ends it."""

    list_display = ("tenant", "rollout", "until", "in_force_since", "ended_at", "asked_by")
    list_select_related = ("tenant", "rollout__release", "asked_by")
    search_fields = ("tenant__name", "tenant__key", "=rollout__id")


@admin.register(Wave)
class WaveAdmin(ReadOnlyAdmin):
    list_display = ("rollout", "number", "size", "state", "verdict")
    list_select_related = ("rollout__release",)
    search_fields = ("=rollout__id",)


@admin.register(RolloutTarget)
class RolloutTargetAdmin(ReadOnlyAdmin):
    list_display = ("rollout", "instance", "wave", "state", "attempt", "why")
    list_select_related = ("rollout__release", "instance")
    list_filter = ("state",)
    search_fields = ("=rollout__id", "instance__name")


@admin.register(Advisory)
class AdvisoryAdmin(ShownAdmin):
    """Advisories come in as documents; a newer document is the way to change one."""

    list_display = ("osv_id", "severity", "summary", "known_at", "deadline", "withdrawn")
    list_filter = ("severity", "withdrawn")
    search_fields = ("osv_id", "summary")


@admin.register(AdvisoryMatch)
class AdvisoryMatchAdmin(ShownAdmin):
    list_display = ("advisory", "component", "fixed_in")
    list_select_related = ("advisory", "component")
    search_fields = ("advisory__osv_id", "component__package")


@admin.register(VexStatement)
class VexStatementAdmin(ProductAdmin):
    list_display = ("advisory", "release", "justification", "reason", "stated_by")
    list_select_related = ("advisory", "release", "stated_by")
    search_fields = ("advisory__osv_id", "release__version")
    autocomplete_fields = ("advisory", "release", "stated_by")


@admin.register(Exposure)
class ExposureAdmin(ReadOnlyAdmin):
    list_display = ("advisory", "instance", "version", "since", "until")
    list_select_related = ("advisory", "instance")
    search_fields = ("advisory__osv_id", "instance__name")


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Set, ended and overridden on the rules' page, where another's takes two and tells the tenant; here is no second way."""

    list_display = ("tenant", "version", "until", "reason", "set_by", "overridden_by")
    list_select_related = ("tenant", "set_by", "overridden_by")
    search_fields = ("tenant__name", "reason")


@admin.register(Freeze)
class FreezeAdmin(ReadOnlyAdmin):
    """Announced and ended on the rules' page, ended by two."""

    list_display = ("name", "account", "starts_at", "ends_at", "lets_security_through")
    list_select_related = ("account",)
    search_fields = ("name",)


@admin.register(Window)
class WindowAdmin(ReadOnlyAdmin):
    """Added and removed on the rules' page; what lets more of the week be used takes two."""

    list_display = ("tenant", "days", "opens_at", "minutes", "lets_security_through")
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "tenant__key")


@admin.register(BlastPolicy)
class BlastPolicyAdmin(ShownAdmin):
    """A limit is set on the rules' page, where raising it takes two; here is no second way."""

    list_display = (
        "scope",
        "label",
        "measure",
        "currency",
        "max_count",
        "max_percent",
        "wanted_count",
        "wanted_percent",
        "wanted_by",
    )
    list_select_related = ("wanted_by",)
    search_fields = ("label",)


@admin.register(ClockPolicy)
class ClockPolicyAdmin(ProductAdmin):
    list_display = ("severity", "hours")
    search_fields = ("severity",)


@admin.register(ClockStep)
class ClockStepAdmin(ProductAdmin):
    list_display = ("name", "address", "percent", "severity")
    search_fields = ("name", "address")


@admin.register(ClockAsk)
class ClockAskAdmin(ShownAdmin):
    list_display = ("advisory", "percent", "at", "exposed", "ended_at")
    list_select_related = ("advisory",)
    search_fields = ("advisory__osv_id",)


@admin.register(CustomerNotice)
class CustomerNoticeAdmin(ReadOnlyAdmin):
    """What was written to customers stays as it was written."""

    list_display = ("tenant", "subject", "state", "sent_at", "sent_by")
    list_select_related = ("tenant", "sent_by")
    list_filter = ("state",)
    search_fields = ("tenant__name", "subject")


@admin.register(MetricSource)
class MetricSourceAdmin(ProductAdmin):
    list_display = ("name", "label", "step_seconds")
    search_fields = ("name",)
