"""What every app stands on: the base model, events, saved views."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models, router, transaction
from django.utils import timezone

from .choices import Tone
from .context import marks
from .querysets import RecordedQuerySet


class Recorded(models.Model):
    """A row and its audit entry are written together or not at all, by whichever manager.

    Django sends `post_save` after the row's own statement is committed, and `pre_save` before it: without a
    transaction around both, a row could stand without its entry, or an entry without its row.
    """

    objects = RecordedQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using, savepoint=False):
            super().save(*args, **kwargs)

    def get_additional_data(self) -> dict[str, int] | None:
        """What auditlog writes beside the change: the emergency grant under which it was made."""
        return marks()


class BaseModel(Recorded):
    """Base of every model of ours: recorded in the audit trail, with the two times everybody asks for.

    AUDIT_EXCLUDE names the columns whose changes are no news (observed state, leases).
    AUDIT_EXEMPT, a reason in words, takes the whole model out of the trail.
    """

    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = ("updated_at", "created_at")
    AUDIT_EXEMPT: ClassVar[str] = ""

    class Meta:
        abstract = True


class EventQuerySet(models.QuerySet["Event"]):
    def newest(self) -> "EventQuerySet":
        return self.order_by("-at", "-id")


class Event(models.Model):
    """Something that happened, told once, shown on each timeline it touches.

    The context columns hold plain ids: this floor names none above it, and an event outlives
    what it tells of. The table is partitioned by month (see migration 0002).
    """

    AUDIT_EXEMPT = "events are themselves a record and are only ever inserted"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=60, help_text="what happened, as noun.verb: operation.started")
    tone = models.CharField(max_length=8, choices=Tone.choices, default=Tone.PLAIN)
    title = models.CharField(max_length=300)
    why = models.TextField(blank=True, help_text="reason or detail, one line")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    operation_id = models.BigIntegerField(null=True, blank=True)
    instance_id = models.BigIntegerField(null=True, blank=True)
    tenant_id = models.BigIntegerField(null=True, blank=True)
    cell_id = models.BigIntegerField(null=True, blank=True)
    account_id = models.BigIntegerField(null=True, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-at", "-id"], name="event_at"),
            models.Index(
                fields=["instance_id", "-at"],
                name="event_instance",
                condition=models.Q(instance_id__isnull=False),
            ),
            models.Index(
                fields=["tenant_id", "-at"], name="event_tenant", condition=models.Q(tenant_id__isnull=False)
            ),
            models.Index(
                fields=["cell_id", "-at"], name="event_cell", condition=models.Q(cell_id__isnull=False)
            ),
            models.Index(
                fields=["account_id", "-at"],
                name="event_account",
                condition=models.Q(account_id__isnull=False),
            ),
            models.Index(
                fields=["operation_id"],
                name="event_operation",
                condition=models.Q(operation_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.title


class SavedView(BaseModel):
    """A list's filters and order under a name; its owner's, or everybody's."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=80, help_text="the list's URL name, such as fleet:instances")
    name = models.CharField(max_length=80)
    query = models.CharField(
        max_length=2_000, blank=True, help_text="the URL's query, without the question mark"
    )
    is_shared = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["owner", "page", "name"], name="savedview_name_once")]

    def __str__(self) -> str:
        return self.name


def context_of(obj: Any) -> dict[str, int | None]:
    """The context ids an object offers for its events (see `Event`)."""
    return dict(obj.event_context()) if hasattr(obj, "event_context") else {}
