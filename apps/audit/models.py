"""The trail: who did what, why, by which way; and the seals that prove it was not changed since."""

from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Upper

from apps.core.context import MissingActor, current
from apps.core.enriching import EnrichedQuerySet
from apps.core.models import BaseModel

from .canonical import Seal
from .choices import EventKind, StreamKind
from .retirements import Retirement


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
    #: Set by `seals.with_states` and `naming.with_names`.
    seal_state: Any
    named_changes: Any

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
        "access.AccessRequest",
        "access.BreakGlass",
        "access.PreApproval",
        "access.ApiToken",
        "auth.Group",
        "mfa.Authenticator",
        "account.EmailAddress",
        "socialaccount.SocialAccount",
        "access.SsoGroup",
        "access.ScimGroup",
        "access.AccessReview",
        "access.ReviewItem",
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


class AuditRetirement(models.Model):
    """What retention let go, and signed for (`retirements`). Inserted, never changed or deleted: triggers refuse it."""

    AUDIT_EXEMPT = "it proves the trail, and is itself hashed and signed"

    number = models.PositiveIntegerField(primary_key=True)
    header = models.JSONField(help_text="what is hashed and signed")
    hash = models.CharField(max_length=64, unique=True)
    signature = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"#{self.number}: entries before {self.header.get('before')}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A retirement is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("A retirement is never deleted.")

    def link(self) -> Retirement:
        """The retirement as the verifier takes it."""
        return Retirement(dict(self.header), self.hash, bytes(self.signature))


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


#: Where syslog without TLS may go in production: to an agent on the machine itself.
LOCAL = ("localhost", "127.0.0.1", "::1")


class StreamQuerySet(EnrichedQuerySet["AuditStream"]):
    """Streams with how far behind they are."""


class AuditStream(BaseModel):
    """Where the sealed trail is sent as it grows, and how far it got.

    Each entry is delivered at least once and in the order of ids; `sent_to` moves only once the other side has taken
    what lies before it.
    """

    name = models.SlugField(unique=True)
    kind = models.CharField(max_length=8, choices=StreamKind.choices)
    url = models.CharField(
        max_length=500,
        help_text="https://siem.example/in, syslog://host:514 or syslog+tls://host:6514; no password in it",
    )
    secret_env = models.CharField(
        max_length=80,
        blank=True,
        validators=[
            RegexValidator(
                r"^AUDIT_STREAM_[A-Z0-9_]+$", "Name an environment variable that begins with AUDIT_STREAM_."
            )
        ],
        help_text="environment variable of the worker that holds the webhook's secret: AUDIT_STREAM_…",
    )
    is_enabled = models.BooleanField(default=True)
    sent_to = models.BigIntegerField(
        default=0, editable=False, help_text="id of the last entry that was taken"
    )
    sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="tries in a row that failed")
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    next_try_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    objects = StreamQuerySet.as_manager()  # type: ignore[misc]
    #: Set by `seals.with_lag`.
    behind: int

    AUDIT_EVENT = EventKind.ACCESS
    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = (
        "created_at", "updated_at", "sent_to", "sent_at", "failures", "last_error", "next_try_at", "lease", "lease_until",
    )  # fmt: skip

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind=StreamKind.SYSLOG, url__regex=r"^syslog(\+tls)?://[^/@]+$")
                | models.Q(kind=StreamKind.WEBHOOK, url__regex=r"^https?://[^/@]+(/.*)?$"),
                name="stream_url_fits_its_kind",
                violation_error_message="A webhook needs https://host/path, syslog needs syslog://host:port or syslog+tls://host:port.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """A webhook is signed, and in production it is encrypted."""
        if self.kind == StreamKind.WEBHOOK and not self.secret_env:
            raise ValidationError(
                {"secret_env": "A webhook is signed: name the variable that holds its secret."}
            )
        if settings.PRODUCTION and self.url.startswith("http://"):
            raise ValidationError({"url": "The trail leaves by https only."})
        host = urlsplit(self.url).hostname
        if settings.PRODUCTION and self.url.startswith("syslog://") and host not in LOCAL:
            raise ValidationError(
                {"url": "The trail leaves this machine encrypted only: syslog+tls://host:port."}
            )


def time_text(at: datetime) -> str:
    """A time in the form of the trail: UTC, six digits of the second, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
