"""The trail in the admin: to be looked up, by who holds data fixes and the trail on everything."""

from django.contrib import admin
from django.http import HttpRequest

from apps.access.choices import Permission
from apps.access.fixadmin import ReadOnlyAdmin

from .models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    permission = Permission.SEE_AUDIT
    on_everything = True
    list_display = ("timestamp", "actor", "via", "action", "content_type", "object_repr", "reason")
    list_filter = ("action", "via")
    list_select_related = ("actor", "content_type")
    search_fields = ("=object_id", "=cid", "=operation_id")
    search_help_text = "id of the row, of the request or of the operation"
    ordering = ("-timestamp", "-id")
    fields = (
        "timestamp", "actor", "via", "reason", "action", "content_type", "object_pk", "object_repr", "changes",
        "operation_id", "cid", "remote_addr",
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        """Never, not even with what it tells of."""
        return False
