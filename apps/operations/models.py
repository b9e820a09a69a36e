"""Durable operations, their steps, batches, schedules, approval rules."""

import uuid
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from apps.access.models import Scope
from apps.core.models import BaseModel
from apps.core.querysets import RecordedQuerySet

from .choices import ENDED, OPEN, RuleChangeState, State, StepState, Via


class OperationQuerySet(RecordedQuerySet["Operation"]):
    def open(self) -> "OperationQuerySet":
        return self.filter(state__in=OPEN)

    def running(self) -> "OperationQuerySet":
        return self.filter(state=State.RUNNING)

    def ended(self) -> "OperationQuerySet":
        return self.filter(state__in=ENDED)


class Batch(BaseModel):
    """Operations that were asked for together."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=60)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    idempotency_key = models.CharField(max_length=120, unique=True)
    total = models.PositiveIntegerField(default=0, help_text="operations accepted")
    refused = models.JSONField(
        default=list, help_text="[target id, label, why] of each target that was refused"
    )

    AUDIT_EXEMPT = "each of its operations is recorded"

    class Meta:
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return f"{self.kind} on {self.total}"


class Operation(BaseModel):
    """One durable piece of work on one target. The row is the truth; only the engine moves its state.

    `target_type`, `target_id` and the context ids name things of upper floors without knowing them.
    """

    kind = models.CharField(max_length=60)
    target_type = models.CharField(max_length=30)
    target_id = models.BigIntegerField()
    target_label = models.CharField(max_length=120)
    account_id = models.BigIntegerField(null=True, blank=True)
    cell_id = models.BigIntegerField(null=True, blank=True)
    tenant_id = models.BigIntegerField(
        null=True, blank=True, help_text="the one tenant of a dedicated target"
    )
    is_changing = models.BooleanField(
        help_text="changes its target: never two of these at once on one target"
    )
    params = models.JSONField(default=dict)

    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="operations")
    reason = models.CharField(max_length=500)
    via = models.CharField(max_length=10, choices=Via.choices, default=Via.PAGE)
    idempotency_key = models.CharField(max_length=160, unique=True)
    fingerprint = models.CharField(
        max_length=64, help_text="what was asked; the same key with another one is an error"
    )
    batch = models.ForeignKey(
        Batch, null=True, blank=True, on_delete=models.PROTECT, related_name="operations"
    )
    approval_reason = models.CharField(
        max_length=200, blank=True, help_text="why somebody else has to approve it"
    )
    # No index on these two: nobody asks by them, and each index is written anew with every change of a state.
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.CharField(max_length=500, blank=True)

    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    run_after = models.DateTimeField(default=timezone.now)
    step = models.PositiveSmallIntegerField(default=0, help_text="index of the step under way")
    step_started_at = models.DateTimeField(null=True, blank=True)
    is_undoing = models.BooleanField(
        default=False, help_text="a step failed and the kind's way back is under way"
    )
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="tries of the step under way that failed"
    )
    retries = models.PositiveIntegerField(default=0, help_text="returns to pending so far")
    lost = models.PositiveSmallIntegerField(default=0, help_text="workers that died on it")
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(
        default=0, help_text="grows with each lease; an older one can write nothing"
    )
    under = models.BigIntegerField(
        null=True, blank=True, help_text="the emergency grant (broken glass) it was asked for under"
    )
    seen = models.JSONField(default=dict, help_text="what its target was like when it was asked for")
    notes = models.JSONField(default=dict, help_text="what steps leave for later steps")
    failure = models.TextField(blank=True, help_text="what set the way back going")
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    AUDIT_EVENT = "operation"
    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = tuple(
        "created_at updated_at state run_after step step_started_at is_undoing attempts retries lost lease_owner "
        "lease_until fence notes failure error started_at finished_at fingerprint seen".split()
    )

    objects: ClassVar[models.Manager["Operation"]] = OperationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["target_type", "target_id"],
                condition=models.Q(state=State.RUNNING, is_changing=True),
                name="operation_one_change_at_a_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=State.RUNNING) | models.Q(lease_until__isnull=False),
                name="operation_running_is_leased",
            ),
            models.CheckConstraint(
                condition=models.Q(state=State.RUNNING) | models.Q(lease_until__isnull=True),
                name="operation_leased_is_running",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ENDED, finished_at__isnull=False)
                | (~models.Q(state__in=ENDED) & models.Q(finished_at__isnull=True)),
                name="operation_ended_has_its_time",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by__isnull=True) | ~models.Q(approved_by=models.F("actor")),
                name="operation_approved_by_another",
            ),
        ]
        indexes = [
            models.Index(
                fields=["run_after", "id"], name="operation_due", condition=models.Q(state=State.PENDING)
            ),
            models.Index(
                fields=["lease_until"], name="operation_leases", condition=models.Q(state=State.RUNNING)
            ),
            models.Index(
                fields=["target_type", "target_id"],
                name="operation_open_on_target",
                condition=models.Q(state__in=[State.PENDING, State.RUNNING]),
            ),
            models.Index(fields=["target_type", "target_id", "-id"], name="operation_of_target"),
            models.Index(fields=["state", "-id"], name="operation_by_state"),
            models.Index(fields=["actor", "-id"], name="operation_by_actor"),
            models.Index(fields=["cell_id", "-id"], name="operation_by_cell"),
            models.Index(fields=["account_id", "-id"], name="operation_by_account"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_label} #{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN


class Step(models.Model):
    """What became of one step of an operation."""

    AUDIT_EXEMPT = "written by the engine under a fencing token; the operation's request is recorded"

    id = models.BigAutoField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    is_undo = models.BooleanField(default=False)
    name = models.CharField(max_length=60)
    state = models.CharField(max_length=10, choices=StepState.choices)
    tries = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["is_undo", "position"]
        constraints = [models.UniqueConstraint(fields=["operation", "is_undo", "position"], name="step_once")]

    def __str__(self) -> str:
        return self.name


class ApprovalRule(BaseModel):
    """Operations that need a second person: of a kind (or any), on so many targets at once, somewhere, at some hours."""

    kind = models.CharField(max_length=60, blank=True, help_text="empty: every changing kind")
    min_targets = models.PositiveIntegerField(default=1, help_text="from this many targets in one request")
    scope = models.ForeignKey(
        Scope,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="only targets in this account or cell, or of this one tenant; empty: anywhere",
    )
    from_hour = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="only from this hour on (0 to 23); empty: at any hour"
    )
    to_hour = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="until before this hour; before from_hour: over midnight"
    )
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA time zone of the hours")
    is_enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=200, help_text="shown to the requester and the approver")

    #: What an edit of this row became where it was not written: see `rules.change_rule`.
    proposal: "ApprovalRuleChange | None" = None

    class Meta:
        ordering = ["kind", "min_targets"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "min_targets", "scope", "from_hour", "to_hour"],
                nulls_distinct=False,
                name="approvalrule_once",
            ),
            models.CheckConstraint(
                condition=models.Q(from_hour__isnull=True, to_hour__isnull=True)
                | models.Q(from_hour__lte=23, to_hour__lte=23),
                name="approvalrule_hours",
            ),
        ]

    def __str__(self) -> str:
        where = f" on {self.scope}" if self.scope_id else ""
        when = "" if self.from_hour is None else f", {self.from_hour}–{self.to_hour} h {self.zone}"
        return f"{self.kind or 'any change'} from {self.min_targets}{where}{when}"

    def clean(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise ValidationError({"zone": f"There is no time zone “{self.zone}”."}) from error


class ApprovalRuleChange(BaseModel):
    """A change by which a rule would ask for less: it waits for a second person, and stays as a record.

    `rule_ref` is no foreign key, so that the record outlives a rule that it took away.
    """

    rule_ref = models.BigIntegerField(help_text="id of the rule")
    label = models.CharField(max_length=200, help_text="the rule as it was when this was proposed")
    deletes = models.BooleanField(default=False, help_text="the rule goes")
    wanted = models.JSONField(default=dict, blank=True, help_text="columns that change, as they shall be")
    seen = models.JSONField(
        default=dict,
        help_text="what the rule said when this was proposed; another rule by now is not changed",
    )
    reason = models.CharField(max_length=500)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    state = models.CharField(max_length=10, choices=RuleChangeState.choices, default=RuleChangeState.WAITING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule_ref"],
                condition=models.Q(state=RuleChangeState.WAITING),
                name="rulechange_one_waits",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=RuleChangeState.AGREED)
                | (models.Q(decided_by__isnull=False) & ~models.Q(decided_by=models.F("proposed_by"))),
                name="rulechange_agreed_by_another",
            ),
        ]

    def __str__(self) -> str:
        return f"{'end' if self.deletes else 'change'} of {self.label}"


class Schedule(BaseModel):
    """Submits an operation again and again, with the rights its owner has at that moment."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=60)
    target_type = models.CharField(max_length=30, default="instance")
    target_id = models.BigIntegerField()
    params = models.JSONField(default=dict, blank=True)
    cron = models.CharField(max_length=80, help_text="five fields, as in cron: 0 3 * * 1")
    zone = models.CharField(
        max_length=64, default="UTC", help_text="IANA time zone in which the cron line is read"
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="schedules")
    reason = models.CharField(max_length=500)
    is_enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "next_at", "last_at", "last_error")

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["next_at"], name="schedule_due", condition=models.Q(is_enabled=True))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from .kinds import find_kind
        from .schedules import next_time

        if not isinstance(self.params, dict):
            raise ValidationError(
                {"params": 'Write the parameters as names with values: {"version": "1.1.0"}.'}
            )
        try:
            find_kind(self.kind).check_params(self.params)
            next_time(self.cron, self.zone, timezone.now())
        except (LookupError, ValueError) as error:
            raise ValidationError(str(error)) from error
