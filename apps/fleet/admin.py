"""Data fixes of cells, instances and placements. What an instance runs changes only by operations."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.access.fixadmin import (
    REASON,
    REASON_HELP,
    REASON_MISSING,
    FixAdmin,
    ReadOnlyAdmin,
    VisibleRelated,
    given_reason,
)
from apps.access.scoping import holds, visible
from apps.operations import services
from apps.operations.choices import OPEN, Via
from apps.operations.kinds import Kind
from apps.operations.models import Operation

from .choices import Health, Wanted
from .kinds import ALL
from .models import (
    AcmeChallenge,
    AcmeOrder,
    Cell,
    Certificate,
    CertificateIssuer,
    Diagnostics,
    Instance,
    Placement,
    RenewalPolicy,
    SimulatedInstance,
)

Action = Callable[[Any, HttpRequest, QuerySet[Instance]], HttpResponse | None]
#: How many lines of a preview the page shows.
SHOWN = 50


@admin.register(Cell)
class CellAdmin(FixAdmin):
    list_display = ("name", "region", "provider", "capacity", "locked_reason")
    list_filter = ("provider", ("region", VisibleRelated))
    list_select_related = ("region__account",)
    search_fields = ("name",)
    autocomplete_fields = ("region",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A cell that holds instances keeps its provider and its region: they are where the instances really are."""
        return ("provider", "region") if obj is not None and obj.instances.exists() else ()


def _operate(kind: Kind) -> tuple[Action, str, str]:
    """An admin action that asks for `kind` on what is selected, by the one road for change."""

    def act(model_admin: Any, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        return _operation_page(model_admin, request, kind, queryset)

    return act, f"operate_{kind.name}", f"{kind.label} selected instances …"


def _operation_page(
    model_admin: Any, request: HttpRequest, kind: Kind, queryset: QuerySet[Instance]
) -> HttpResponse | None:
    """The preview with its reason; confirmed, the operations. Permission, guard rails and audit are `submit_many`'s."""
    ids = list(queryset.values_list("pk", flat=True))
    params = {"version": request.POST["version"]} if request.POST.get("version") else {}
    error = ""
    if request.POST.get("confirmed"):
        error = "" if given_reason(request) else REASON_MISSING
        if not error and (answer := _submit(request, kind, ids, params)) is not None:
            return answer
    return TemplateResponse(
        request,
        "admin/fix_operation.html",
        {
            **model_admin.admin_site.each_context(request),
            "title": f"{kind.label} {len(ids)} instance{'' if len(ids) == 1 else 's'}",
            "opts": model_admin.opts,
            "kind": kind,
            "ids": ids,
            "action": f"operate_{kind.name}",
            "checkbox": ACTION_CHECKBOX_NAME,
            "needs_version": kind.name == "deploy",
            "key": request.POST.get("key") or uuid.uuid4().hex,
            "reason_name": REASON,
            "reason_help": REASON_HELP,
            "reason_error": error,
            "reason": request.POST.get(REASON, ""),
            "version": params.get("version", ""),
            **_preview(request, kind, ids, params),
        },
    )


def _preview(
    request: HttpRequest, kind: Kind, ids: Sequence[int], params: Mapping[str, str]
) -> dict[str, Any]:
    if kind.name == "deploy" and not params:
        return {"lines": [], "refused": []}
    try:
        made = services.plan(kind=kind.name, target_ids=ids, params=params, actor=request.user)
    except services.Refused as refusal:
        return {"lines": [], "refused": [], "preview_error": str(refusal)}
    return {"lines": made.lines()[:SHOWN], "accepted": len(made.accepted), "refused": made.refused[:SHOWN]}


def _submit(
    request: HttpRequest, kind: Kind, ids: Sequence[int], params: Mapping[str, str]
) -> HttpResponse | None:
    """Submit; gives the page to go to, or None with a message where nothing could be done."""
    try:
        done = services.submit_many(
            kind=kind.name,
            target_ids=ids,
            params=params,
            actor=request.user,
            reason=given_reason(request),
            idempotency_key=services.own_key(request.user, request.POST.get("key", "")),
            via=Via.ADMIN,
        )
    except services.Refused as refusal:
        messages.error(request, str(refusal))
        return None
    if done.batch is None:
        messages.error(request, "None of them can be done; below stands why.")
        return None
    messages.success(request, f"{kind.label}: {len(done.operations)} accepted, {len(done.refused)} refused.")
    return HttpResponseRedirect(reverse("operations:batch", args=[done.batch.pk]))


@admin.register(Instance)
class InstanceAdmin(FixAdmin):
    """What people decide can be fixed; what operations decide and what probes saw is shown."""

    list_display = ("name", "cell", "kind", "wanted", "health", "version", "wanted_version", "locked_reason")
    list_filter = ("health", "kind", "wanted", ("cell", VisibleRelated))
    list_select_related = ("cell",)
    search_fields = ("name",)
    autocomplete_fields = ("cell",)
    readonly_fields = (
        "wanted", "wanted_version", "workers", "health", "health_detail", "health_since", "version", "generation", "endpoint",
        "observed_at",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new instance says which version it shall run; one that exists stays in its cell under its name."""
        if obj is None:
            return tuple(name for name in self.readonly_fields if name not in ("wanted_version", "wanted"))
        return (*self.readonly_fields, "cell", "name") if obj.generation else self.readonly_fields

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions |= {
            name: (act, name, label)
            for act, name, label in (_operate(kind) for kind in ALL if holds(request.user, kind.permission))
        }
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only an instance that runs nothing can go: its row is all that leads to its process."""
        return super().has_delete_permission(request, obj) and (obj is None or not _why_it_stays(obj))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        obj = self.get_object(request, object_id) if object_id and request.method == "GET" else None
        if obj is not None and (why := _why_it_stays(obj)):
            messages.info(request, f"{obj} cannot be deleted: {why}")
        return super().changeform_view(request, object_id, form_url, extra_context)


def _why_it_stays(instance: Instance) -> str:
    """Why an instance's row cannot be deleted now; empty when it can."""
    if instance.locked_reason or instance.cell.locked_reason:
        return f"it is locked: {instance.locked_reason or instance.cell.locked_reason}"
    if Operation.objects.filter(target_type="instance", target_id=instance.pk, state__in=OPEN).exists():
        return "an operation on it has not ended."
    if instance.generation and not (instance.wanted == Wanted.STOPPED and instance.health == Health.STOPPED):
        return "it runs, or may run; stop it first."
    return ""


@admin.register(Placement)
class PlacementAdmin(FixAdmin):
    list_display = ("tenant", "instance", "since")
    list_select_related = ("tenant", "instance")
    search_fields = ("tenant__name", "tenant__key", "instance__name")
    autocomplete_fields = ("tenant", "instance")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Only onto what one may fix oneself: a placement gives its tenant's people a dedicated instance whole."""
        if db_field.name == "instance":
            kwargs["queryset"] = visible(request.user, Instance, self.permission)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(Diagnostics)
class DiagnosticsAdmin(ReadOnlyAdmin):
    """That a bundle exists and how large it is; its texts are on the instance's page, for who may read logs."""

    list_display = ("instance", "operation_id", "size", "created_at")
    list_select_related = ("instance",)
    search_fields = ("=operation_id", "instance__name")
    fields = ("instance", "operation_id", "size", "created_at")


@admin.register(Certificate)
class CertificateAdmin(ReadOnlyAdmin):
    """What the last handshake saw; it changes by the next one."""

    list_display = ("instance", "not_after", "key", "issuer", "looked_at")
    list_select_related = ("instance",)
    search_fields = ("instance__name",)


@admin.register(RenewalPolicy)
class RenewalPolicyAdmin(ReadOnlyAdmin):
    """Changed on its own page, which gives the rights that it needs."""

    list_display = ("account", "share", "at_once", "is_enabled")
    list_select_related = ("account",)
    search_fields = ("account__name",)


@admin.register(CertificateIssuer)
class CertificateIssuerAdmin(ReadOnlyAdmin):
    """Changed on its own page, which makes its keys; they are shown nowhere."""

    list_display = ("name", "kind", "account", "cell", "directory_url", "held_until", "is_enabled")
    list_filter = ("kind",)
    list_select_related = ("account", "cell")
    search_fields = ("name",)
    exclude = ("key_sealed", "eab_key_sealed")


@admin.register(AcmeOrder)
class AcmeOrderAdmin(ReadOnlyAdmin):
    """What was ordered, and what came of it; moved by its operation alone."""

    list_display = ("id", "issuer", "instance", "state", "error", "created_at")
    list_filter = ("state",)
    list_select_related = ("issuer", "instance")
    search_fields = ("=operation_id", "instance__name")
    exclude = ("key_sealed",)


@admin.register(AcmeChallenge)
class AcmeChallengeAdmin(ReadOnlyAdmin):
    """What the portal answers to directories now."""

    list_display = ("name", "order", "made_at")
    list_select_related = ("order",)
    search_fields = ("name",)


@admin.register(SimulatedInstance)
class SimulatedInstanceAdmin(FixAdmin):
    """Orders faults for drills. Its state is the simulated world's own and changes only by operations."""

    write_on_everything = True
    on_everything = True
    list_display = (
        "instance",
        "state",
        "version",
        "generation",
        "effects",
        "fault",
        "fault_value",
        "crash_on_version",
    )
    list_filter = ("state", "fault")
    list_select_related = ("instance",)
    search_fields = ("instance__name",)
    fields = (
        "instance",
        "fault",
        "fault_value",
        "crash_on_version",
        "state",
        "version",
        "generation",
        "effects",
        "ready_at",
    )
    readonly_fields = ("instance", "state", "version", "generation", "effects", "ready_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only with its instance."""
        match = request.resolver_match
        own = {pattern.name for pattern in self.urls}
        return match is not None and match.url_name not in own and super().has_delete_permission(request, obj)
