"""What every model's admin is made of: scope, a reason for each change, and a row in the trail.

A data fix takes the same doors as a page: `visible` narrows what is listed, and whoever may not
fix a row does not find it. Each write runs in one durable transaction with its audit entries and
an event, and is rolled back when the row it leaves does not lie where its author may fix data.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as django_delete_selected
from django.contrib.admin.utils import flatten_fieldsets, quote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.core.models import context_of
from apps.core.paging import EstimatingPaginator

from . import lockout
from .choices import Permission
from .scoping import allowed, holds, scopes_of, visible

REASON = "fix_reason"
MIN_REASON, MAX_REASON = 3, 500
REASON_HELP = "Stands in the audit trail and on the timeline: who asked, which ticket, what was wrong."
REASON_MISSING = "Say why, in a few words: a data fix without a reason is not made."
#: What a page about deleting shows of what goes with it, at each place.
SHOWN = 50


def reason_field() -> forms.CharField:
    """The field that every form of the admin begins with."""
    return forms.CharField(
        label="Reason for this data fix",
        min_length=MIN_REASON,
        max_length=MAX_REASON,
        help_text=REASON_HELP,
        error_messages={"required": REASON_MISSING, "min_length": REASON_MISSING},
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )


def given_reason(request: HttpRequest) -> str:
    """The reason as it is recorded; empty where none was given, or one too short to say anything."""
    reason = " ".join(request.POST.get(REASON, "").split())[:MAX_REASON]
    return reason if len(reason) >= MIN_REASON else ""


class VisibleRelated(admin.RelatedFieldListFilter):
    """A filter by a related row, of those that the reader may see."""

    MOST = 500

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        rows = visible(request.user, field.remote_field.model)
        return [(row.pk, str(row)) for row in rows.distinct()[: self.MOST]]


class FixAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """See the module.

    `permission` is what the rows are narrowed by; `on_everything` keeps the whole admin, `write_on_everything`
    its writes, for who holds it on everything. `needs_also` names a further permission, on everything, for writes.
    """

    permission: ClassVar[str] = Permission.FIX_DATA
    on_everything: ClassVar[bool] = False
    write_on_everything: ClassVar[bool] = False
    needs_also: ClassVar[str] = ""

    show_full_result_count = False
    paginator = EstimatingPaginator
    list_per_page = 50
    list_max_show_all = 200
    save_on_top = False
    view_on_site = False
    actions: tuple[Any, ...] = ("delete_selected",)
    delete_confirmation_template = "admin/fix_delete_confirmation.html"
    delete_selected_confirmation_template = "admin/fix_delete_selected_confirmation.html"
    object_history_template = "admin/fix_history.html"

    # --- who may

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Rows that may be fixed; to choose from in a form, those that may be seen."""
        match = request.resolver_match
        choosing = match is not None and match.url_name == "autocomplete"
        return visible(
            request.user, super().get_queryset(request), Permission.VIEW if choosing else self.permission
        )

    def _may_enter(self, user: Any) -> bool:
        return (
            scopes_of(user, self.permission).everything
            if self.on_everything
            else holds(user, self.permission)
        )

    def _may_write(self, user: Any) -> bool:
        if (self.on_everything or self.write_on_everything) and not scopes_of(
            user, self.permission
        ).everything:
            return False
        if self.needs_also and not scopes_of(user, self.needs_also).everything:
            return False
        return holds(user, self.permission)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may_enter(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_enter(request.user) and (obj is None or allowed(request.user, self.permission, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may_write(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_write(request.user) and (obj is None or allowed(request.user, self.permission, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_write(request.user) and (obj is None or allowed(request.user, self.permission, obj))

    # --- the reason

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """The reason first, wherever something can be written."""
        rest = [
            (name, {**options, "fields": [f for f in options["fields"] if f != REASON]})
            for name, options in super().get_fieldsets(request, obj)
        ]
        writes = (
            self.has_change_permission(request, obj) if obj is not None else self.has_add_permission(request)
        )
        return [(None, {"fields": [REASON], "classes": ["fix-reason"]}), *rest] if writes else rest

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        fields = (
            kwargs["fields"] if "fields" in kwargs else flatten_fieldsets(self.get_fieldsets(request, obj))
        )
        kwargs["fields"] = fields if fields is None else [name for name in fields if name != REASON]
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.base_fields = {REASON: reason_field(), **form.base_fields}
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Only what the reader may see can be chosen, also by a value typed into the request."""
        kwargs.setdefault("queryset", visible(request.user, db_field.remote_field.model))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    # --- writing

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        return self._written(
            request,
            lambda: super(FixAdmin, self).changeform_view(request, object_id, form_url, extra_context),
        )

    def _written(self, request: HttpRequest, write: Callable[[], Any]) -> Any:
        """Run `write` as this person, for the reason given, in one durable transaction."""
        with (
            transaction.atomic(durable=True),
            acting(request.user, reason=given_reason(request), via="admin"),
        ):
            return write()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self.check_scope(request, form.instance)

    def check_scope(self, request: HttpRequest, obj: models.Model) -> None:
        """Raises PermissionDenied, and so undoes everything, when the row as saved lies out of the author's scope."""
        if not allowed(request.user, self.permission, obj):
            name = obj._meta.verbose_name
            raise PermissionDenied(
                f"This {name} would lie outside what you may fix data on; nothing was changed."
            )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        extra = {**(extra_context or {}), "reason_name": REASON, "reason_help": REASON_HELP}
        if request.method != "POST":
            return super().delete_view(request, object_id, extra)
        if not given_reason(request):
            _ask_again(request)
            return super().delete_view(request, object_id, {**extra, "reason_error": REASON_MISSING})
        return self._written(request, lambda: super(FixAdmin, self).delete_view(request, object_id, extra))

    @admin.action(permissions=["delete"], description="Delete selected %(verbose_name_plural)s")
    def delete_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Django's own, with a reason, in one transaction."""
        extra = {"reason_name": REASON, "reason_help": REASON_HELP}
        if request.POST.get("post") and given_reason(request):
            answer: TemplateResponse | None = self._written(
                request, lambda: django_delete_selected(self, request, queryset)
            )
            return answer
        if request.POST.get("post"):
            extra["reason_error"] = REASON_MISSING
            _ask_again(request, without="post")
        page: TemplateResponse | None = django_delete_selected(self, request, queryset)
        if page is not None and page.context_data is not None:
            page.context_data.update(extra)
        return page

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """As Django's; of what goes with them no more than a page can bear is listed, the numbers tell the rest."""
        to_delete, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return _shortened(to_delete), counts, lacking, protected

    # --- what is told

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._tell(request, [obj], "added", "data.fixed")

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        changed = [
            name
            for part in message
            for name in part.get("changed", {}).get("fields", [])
            if isinstance(part, dict)
        ]
        self._tell(
            request,
            [obj],
            "corrected",
            "data.fixed",
            columns=[n for n in changed if "reason for this" not in n.lower()],
        )

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        self._tell(request, list(queryset), "deleted", "data.deleted")

    def _tell(
        self, request: HttpRequest, objs: Sequence[Any], did: str, kind: str, columns: Sequence[str] = ()
    ) -> None:
        """Events for the timelines of what was touched. The trail has its entries from the models themselves."""
        which = f" ({', '.join(columns)})" if columns else ""
        name = capfirst(str(self.opts.verbose_name))
        record(
            event(
                kind,
                f"{name} {obj} was {did} by hand{which}",
                tone=Tone.WARN,
                actor=request.user,
                **dict[str, Any](context_of(obj)),
            )
            for obj in objs
        )

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the trail says about this row."""
        from auditlog import get_logentry_model

        obj = self.get_object(request, object_id)
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        entries = (
            get_logentry_model()
            .objects.get_for_object(obj)
            .select_related("actor")
            .order_by("-timestamp", "-pk")
        )
        page = self.get_paginator(request, entries, 100)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {obj}",
            "entries": page.get_page(request.GET.get("p")),
            "module_name": capfirst(str(self.opts.verbose_name_plural)),
            "object": obj,
            "object_link": quote(object_id),
            "opts": self.opts,
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.object_history_template, context)


class ReadOnlyAdmin(FixAdmin):
    """For rows that only the engine, a probe or a service writes. They may go with the row they belong to."""

    actions = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never by itself; from the page that deletes its owner, whoever may fix data there."""
        match = request.resolver_match
        own = {pattern.name for pattern in self.urls}
        return match is not None and match.url_name not in own and super().has_delete_permission(request, obj)


class AccessAdmin(FixAdmin):
    """Who may do what: for who holds both data fixes and access on everything."""

    on_everything = True
    needs_also = Permission.MANAGE_ACCESS

    def _written(self, request: HttpRequest, write: Callable[[], Any]) -> Any:
        """As any data fix, and somebody must still manage access afterwards."""

        def guarded() -> Any:
            with lockout.somebody_remains():
                return write()

        try:
            return super()._written(request, guarded)
        except lockout.LastManager as error:
            raise PermissionDenied(str(error)) from error

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (
            super().has_view_permission(request, obj) and scopes_of(request.user, self.needs_also).everything
        )

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def _ask_again(request: HttpRequest, without: str = "") -> None:
    """Make Django show its confirmation once more: a POST without its reason confirms nothing."""
    kept = request.POST.copy()
    kept.pop(without, None)
    request.POST = kept if without else QueryDict()  # type: ignore[assignment]
    messages.error(request, REASON_MISSING)


def _shortened(lines: list[Any]) -> list[Any]:
    """A nested list of lines with no more than SHOWN of them at each level."""
    short = [_shortened(line) if isinstance(line, list) else line for line in lines[:SHOWN]]
    return [*short, f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else short
