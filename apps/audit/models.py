"""The trail: who did what, why, by which way; and the seals that prove it was not changed since."""

from datetime import UTC, datetime
from typing import Any, NoReturn

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

from apps.core.context import MissingActor, current
from apps.core.enriching import EnrichedQuerySet

from .canonical import Seal
from .choices import EventKind


class TrailQuerySet(EnrichedQuerySet["AuditEntry"]):
    """Entries are inserted and read; neither one nor many of them are changed or deleted."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit entries are never changed or deleted.")

    update = delete = bulk_update = update_or_create = _raw_delete = _refuse


class AuditEntry(AbstractLogEntry):
    """One change of one row, or one thing that somebody did. Inserted, never changed: triggers refuse it.

    Every column is covered by the digest that a seal keeps (`canonical.FIELDS`); a new one is added there.
    """

    AUDIT_EXEMPT = "it is the trail"

    # Stricter than auditlog's own: somebody always answers for a change.
    actor: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    # Whoever cleans up stale content types does not clean up the trail.
    content_type = models.ForeignKey(ContentType, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    via = models.CharField(max_length=20, blank=True, help_text="page, admin, api, command, engine, schedule")
    operation_id = models.BigIntegerField(null=True, blank=True)
    event = models.CharField(
        max_length=20,
        choices=EventKind.choices,
        default="",
        db_default=EventKind.CHANGE,
        help_text="kind of what happened",
    )
    under = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="role and scope that carried the permission",
    )
    grant_id = models.BigIntegerField(
        null=True, blank=True, help_text="the grant that carried it, where one did"
    )

    objects = LogEntryManager.from_queryset(TrailQuerySet)()

    # Columns of auditlog's own, which has no types.
    actor_id: int | None
    cid: str | None
    remote_addr: str | None
    #: Set by `seals.with_states`.
    seal_state: Any

    class Meta(AbstractLogEntry.Meta):
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["content_type", "object_id", "-timestamp"], name="audit_object"),
            models.Index(fields=["actor", "-timestamp"], name="audit_actor"),
            models.Index(fields=["via", "-timestamp"], name="audit_via"),
            models.Index(
                fields=["event", "-timestamp"],
                name="audit_event",
                condition=~models.Q(event=EventKind.CHANGE),
            ),
            GinIndex(OpClass(Upper("reason"), name="gin_trgm_ops"), name="audit_reason_trgm"),
            models.Index(
                fields=["operation_id"],
                name="audit_operation",
                condition=models.Q(operation_id__isnull=False),
            ),
        ]

    def attribute(self) -> None:
        """Take actor, reason and way from the act under way. Raises MissingActor when there is none."""
        self.event = self.event or event_kind_of(self)
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
        if act.carrier is not None and not self.under:
            self.grant_id, self.under = act.carrier()

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None and not self._state.adding:
            raise TypeError("An audit entry is never changed.")
        self.attribute()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("An audit entry is never deleted.")


def event_kind_of(entry: AuditEntry) -> str:
    """The kind of an entry that names none: what the changed model says (`AUDIT_EVENT`), else a change."""
    if entry.action == AuditEntry.Action.ACCESS:
        return EventKind.READ
    model = entry.content_type.model_class()
    return str(
        getattr(model, "AUDIT_EVENT", None)
        or OF_OTHERS.get(model._meta.label if model else "", EventKind.CHANGE)
    )


#: Models that cannot say it themselves.
OF_OTHERS: dict[str, str] = dict.fromkeys(
    (
        "access.Grant",
        "access.Role",
        "access.Scope",
        "auth.Group",
        "mfa.Authenticator",
        "account.EmailAddress",
    ),
    EventKind.ACCESS,
)


class SealQuerySet(EnrichedQuerySet["AuditSeal"]):
    """Seals with what is known of them."""


class AuditSeal(models.Model):
    """One link of the chain: the digests of the entries with `after` < id ≤ `up_to`, hashed onto the seal before, signed.

    Inserted by `sealing.seal`, never changed or deleted: triggers refuse it.
    """

    AUDIT_EXEMPT = "it proves the trail, and is itself hashed and signed"

    number = models.PositiveBigIntegerField(primary_key=True)
    after = models.BigIntegerField()
    up_to = models.BigIntegerField(unique=True)
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    count = models.PositiveIntegerField()
    rows_hash = models.CharField(max_length=64)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    key_id = models.CharField(max_length=16)
    signature = models.BinaryField()
    digests = models.BinaryField(help_text="for each entry its id, eight bytes, and its SHA-256")
    version = models.PositiveSmallIntegerField()
    sealed_at = models.DateTimeField()

    objects = SealQuerySet.as_manager()
    #: Set by `seals.with_seal_states`.
    state: Any

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(after__lt=models.F("first_id"))
                & models.Q(first_id__lte=models.F("last_id"))
                & models.Q(last_id__lte=models.F("up_to")),
                name="seal_covers_its_range",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A seal is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("A seal is never deleted.")

    def header(self) -> dict[str, Any]:
        """What is hashed and signed, from the columns (see `canonical`)."""
        return {
            "v": self.version,
            "number": self.number,
            "after": self.after,
            "up_to": self.up_to,
            "first": self.first_id,
            "last": self.last_id,
            "count": self.count,
            "rows": self.rows_hash,
            "previous": self.previous_hash,
            "sealed_at": time_text(self.sealed_at),
            "key": self.key_id,
        }

    def link(self) -> Seal:
        """The seal as the verifier takes it."""
        return Seal(self.header(), self.hash, bytes(self.signature), bytes(self.digests))


class AuditCheck(models.Model):
    """One verification of the whole trail, by the clock or by hand: what was found, and when."""

    AUDIT_EXEMPT = "an observation; what it observes proves itself"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    seconds = models.FloatField()
    seals_to = models.PositiveBigIntegerField(help_text="number of the last seal that was found whole")
    entries = models.BigIntegerField()
    broken_seal = models.BigIntegerField(null=True, blank=True)
    broken_entry = models.BigIntegerField(null=True, blank=True)
    broken = models.CharField(
        max_length=500, blank=True, help_text="where the chain breaks first; empty: it holds"
    )

    class Meta:
        ordering = ["-at"]
        get_latest_by = "at"

    def __str__(self) -> str:
        return self.broken or f"whole up to seal #{self.seals_to}"


def time_text(at: datetime) -> str:
    """A time in the form of the trail: UTC, six digits of the second, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
