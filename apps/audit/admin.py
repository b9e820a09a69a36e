"""The trail in the admin: to be looked up, by who holds data fixes and the trail on everything."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.access.choices import Permission
from apps.access.fixadmin import FixAdmin, ReadOnlyAdmin

from .models import AuditCheck, AuditEntry, AuditRetirement, AuditSeal, AuditStream


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    permission = Permission.SEE_AUDIT
    on_everything = True
    list_display = ("timestamp", "event", "actor", "via", "action", "content_type", "object_repr", "reason")
    list_filter = ("event", "action", "via")
    list_select_related = ("actor", "content_type")
    search_fields = ("=object_id", "=cid", "=operation_id")
    search_help_text = "id of the row, of the request or of the operation"
    ordering = ("-timestamp", "-id")
    fields = (
        "timestamp", "event", "actor", "under", "via", "reason", "action", "content_type", "object_pk", "object_repr",
        "changes", "operation_id", "cid", "remote_addr",
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        """Never, not even with what it tells of."""
        return False


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnlyAdmin):
    permission = Permission.SEE_AUDIT
    on_everything = True
    list_display = ("number", "sealed_at", "first_id", "last_id", "count", "key_id", "hash")
    ordering = ("-number",)
    search_fields = ("=number", "=hash")
    search_help_text = "number or hash of the seal"
    fields = (
        "number", "sealed_at", "after", "up_to", "first_id", "last_id", "count", "rows_hash", "previous_hash", "hash",
        "key_id", "version",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditSeal]:
        """Without the digests: a seal has up to 400 kB of them."""
        return super().get_queryset(request).defer("digests")

    def has_delete_permission(self, request: HttpRequest, obj: AuditSeal | None = None) -> bool:
        return False


@admin.register(AuditRetirement)
class AuditRetirementAdmin(ReadOnlyAdmin):
    permission = Permission.SEE_AUDIT
    on_everything = True
    list_display = ("number", "at", "hash")
    ordering = ("-number",)

    def has_delete_permission(self, request: HttpRequest, obj: AuditRetirement | None = None) -> bool:
        return False


@admin.register(AuditCheck)
class AuditCheckAdmin(ReadOnlyAdmin):
    permission = Permission.SEE_AUDIT
    on_everything = True
    list_display = ("at", "seals_to", "entries", "seconds", "broken")
    ordering = ("-at",)


@admin.register(AuditStream)
class AuditStreamAdmin(FixAdmin):
    """Where the trail is sent. The secret itself is never here: only the name of the variable that holds it."""

    on_everything = True
    needs_also = Permission.SEE_AUDIT
    list_display = ("name", "kind", "url", "is_enabled", "sent_to", "failures")
    readonly_fields = ("sent_to", "sent_at", "failures", "last_error", "next_try_at")
    search_fields = ("name",)
