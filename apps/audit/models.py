"""The trail: who changed what, why, by which way. auditlog writes it; this table adds the why."""

from typing import Any, NoReturn

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

from apps.core.context import MissingActor, current


class TrailQuerySet(models.QuerySet["AuditEntry"]):
    """Entries are inserted and read; neither one nor many of them are changed or deleted."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit entries are never changed or deleted.")

    update = delete = bulk_update = update_or_create = _raw_delete = _refuse


class AuditEntry(AbstractLogEntry):
    """One change of one row. Inserted, never changed."""

    AUDIT_EXEMPT = "it is the trail"

    # Stricter than auditlog's own: somebody always answers for a change.
    actor: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    # Whoever cleans up stale content types does not clean up the trail.
    content_type = models.ForeignKey(ContentType, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    via = models.CharField(max_length=20, blank=True, help_text="page, admin, api, command, engine, schedule")
    operation_id = models.BigIntegerField(null=True, blank=True)

    objects = LogEntryManager.from_queryset(TrailQuerySet)()

    # Columns of auditlog's own, which has no types.
    actor_id: int | None
    cid: str | None
    remote_addr: str | None

    class Meta(AbstractLogEntry.Meta):
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["content_type", "object_id", "-timestamp"], name="audit_object"),
            models.Index(fields=["actor", "-timestamp"], name="audit_actor"),
            models.Index(fields=["via", "-timestamp"], name="audit_via"),
            GinIndex(OpClass(Upper("reason"), name="gin_trgm_ops"), name="audit_reason_trgm"),
            models.Index(
                fields=["operation_id"],
                name="audit_operation",
                condition=models.Q(operation_id__isnull=False),
            ),
        ]

    def attribute(self) -> None:
        """Take actor, reason and way from the act under way. Raises MissingActor when there is none."""
        act = current()
        if act is None:
            if self.actor_id is None:
                raise MissingActor(f"The change of {self.object_repr}")
            return
        if self.actor_id is None:
            self.actor_id = act.actor.pk
        self.reason = self.reason or act.reason
        self.via = self.via or act.via
        self.cid = self.cid or act.request_id or None
        self.remote_addr = self.remote_addr or act.remote_addr
        self.operation_id = self.operation_id or act.operation_id or act.operation_of.get(self.object_id or 0)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None and not self._state.adding:
            raise TypeError("An audit entry is never changed.")
        self.attribute()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("An audit entry is never deleted.")
