"""Rollouts: which instances, in which waves, how far."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from apps.core.models import BaseModel
from apps.fleet.models import Instance

from ..choices import DRIVEN, Excludable, GateMode, OnFail, RolloutState, TargetState, Verdict, WaveState
from .releases import Release

# %% since the text is filled in with the value that was wrong.
amount_validator = RegexValidator(
    r"^([1-9]\d{0,5}|(100|[1-9]\d?)%)$", "Write a number of instances, such as 2, or a share, such as 5%%."
)


class Rollout(BaseModel):
    """Moves instances to a release, wave by wave.

    Its set is frozen when it is prepared: the ids are rows (`RolloutTarget`). `claimed_until` is the lease of the
    one worker that drives it now; every step it takes is safe to repeat, so that a lease which runs out costs time
    and nothing else.
    """

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="rollouts")
    advisory = models.ForeignKey(
        "releases.Advisory", null=True, blank=True, on_delete=models.PROTECT, related_name="rollouts"
    )
    reason = models.CharField(max_length=500)
    query = models.CharField(max_length=2_000, blank=True, help_text="the filter its set was chosen by")
    up_to_ring = models.CharField(
        max_length=60, blank=True, help_text="name of the last ring it goes to; empty: all rings"
    )
    canary = models.CharField(max_length=8, default="5%", validators=[amount_validator])
    growth = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="each wave is so many times larger",
    )
    concurrency = models.PositiveIntegerField(
        default=20, validators=[MinValueValidator(1)], help_text="instances changed at once, at most"
    )
    bake_seconds = models.PositiveIntegerField(
        default=60, help_text="how long a wave is watched before its gate decides"
    )
    gate = models.CharField(max_length=8, choices=GateMode.choices, default=GateMode.METRICS)
    metric_source = models.ForeignKey(
        "releases.MetricSource",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="rollouts",
        help_text="whom the gate asks for figures; empty: each instance's provider",
    )
    min_requests = models.PositiveIntegerField(
        default=100, help_text="requests that each side needs before its figures count"
    )
    on_fail = models.CharField(max_length=10, choices=OnFail.choices, default=OnFail.ROLL_BACK)
    state = models.CharField(max_length=12, choices=RolloutState.choices, default=RolloutState.DRAFT)
    why = models.CharField(max_length=500, blank=True, help_text="why it is in this state")
    note = models.CharField(max_length=300, blank=True, help_text="what it waits for")
    start_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="a prepared rollout starts by itself then, in the name of who said so",
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "claimed_until", "note")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state", "-id"], name="rollout_by_state"),
            models.Index(fields=["id"], name="rollout_driven", condition=models.Q(state__in=DRIVEN)),
        ]

    def __str__(self) -> str:
        return f"rollout #{self.pk} to {self.release}"


class Wave(BaseModel):
    """Instances that are changed together; the gate after it decides whether there is a next one."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="waves")
    number = models.PositiveSmallIntegerField()
    size = models.PositiveIntegerField(default=0)
    ring = models.CharField(
        max_length=60, blank=True, help_text="name of the ring it was planned for; empty: there were none"
    )
    rest_seconds = models.PositiveIntegerField(
        default=0, help_text="so long after it has passed before the next ring begins"
    )
    state = models.CharField(max_length=9, choices=WaveState.choices, default=WaveState.PLANNED)
    started_at = models.DateTimeField(null=True, blank=True)
    baking_since = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=4, choices=Verdict.choices, blank=True)
    reasons = models.JSONField(default=list, help_text="what the gate looked at: [verdict, text] pairs")
    passed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    AUDIT_EXEMPT = (
        "moved by the rollout, which tells each verdict as an event; people's decisions are on the rollout"
    )

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["rollout", "number"], name="wave_number_once")]

    def __str__(self) -> str:
        return f"wave {self.number} of rollout {self.rollout_id}"


class Exclusion(BaseModel):
    """A tenant, a cell or an instance that a rollout leaves alone, and why. Frozen with its set.

    Those of its instances that the filter selected are targets in no wave (0), so that they are seen and told.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="exclusions")
    what = models.CharField(max_length=8, choices=Excludable.choices)
    object_id = models.BigIntegerField()
    label = models.CharField(max_length=120)
    reason = models.CharField(max_length=200)
    instances = models.PositiveIntegerField(default=0, help_text="so many that the filter had selected")

    class Meta:
        ordering = ["what", "label"]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "what", "object_id"], name="exclusion_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_what_display().lower()} {self.label}"


class RolloutTarget(models.Model):
    """One instance of a rollout. `attempt` is part of the idempotency key of the operation that changes it."""

    AUDIT_EXEMPT = "moved by the rollout; the operation that changes the instance is recorded"

    id = models.BigAutoField(primary_key=True)
    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="targets")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    wave = models.PositiveSmallIntegerField()
    position = models.PositiveIntegerField(default=0)
    from_version = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=TargetState.choices, default=TargetState.WAITING)
    attempt = models.PositiveSmallIntegerField(default=1)
    operation_id = models.BigIntegerField(null=True, blank=True)
    undo_attempt = models.PositiveSmallIntegerField(default=1)
    undo_operation_id = models.BigIntegerField(null=True, blank=True)
    why = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["wave", "position"]
        constraints = [models.UniqueConstraint(fields=["rollout", "instance"], name="rollouttarget_once")]
        indexes = [
            models.Index(fields=["rollout", "wave", "state"], name="rollouttarget_wave"),
            models.Index(fields=["rollout", "state"], name="rollouttarget_state"),
        ]

    def __str__(self) -> str:
        return f"instance {self.instance_id} in rollout {self.rollout_id}"
