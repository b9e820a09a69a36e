"""What rollouts, and every change, must keep: holds, freezes, the blast radius."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant, currency_validator

from ..choices import Measure, PolicyScope


class Hold(BaseModel):
    """A tenant that rollouts leave alone for a while; with `version`, one that is pinned to it.

    Overriding it takes two people: one who asks, another who agrees.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="holds")
    version = models.CharField(max_length=40, blank=True, help_text="pinned to it; empty: no rollout at all")
    until = models.DateTimeField()
    reason = models.CharField(max_length=500)
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    override_reason = models.CharField(max_length=500, blank=True)
    override_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    overridden_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["until"]
        indexes = [models.Index(fields=["tenant", "until"], name="hold_of_tenant")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(overridden_by__isnull=True)
                | (
                    models.Q(override_asked_by__isnull=False)
                    & ~models.Q(overridden_by=models.F("override_asked_by"))
                ),
                name="hold_overridden_by_two",
            )
        ]

    def __str__(self) -> str:
        return f"hold of tenant {self.tenant_id}"

    @property
    def is_on(self) -> bool:
        """Whether it holds now."""
        return self.overridden_by_id is None and self.until > timezone.now()

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}


class Freeze(BaseModel):
    """A time in which no rollout starts anything: in one account, or anywhere.

    Ending it before its time takes two people: one who asks, another who agrees.
    """

    name = models.CharField(max_length=100)
    account = models.ForeignKey(
        Account,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="freezes",
        help_text="empty: everywhere",
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    lets_security_through = models.BooleanField(
        default=True, help_text="security releases roll out all the same"
    )
    reason = models.CharField(max_length=500)
    end_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    end_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="freeze_ends_after_it_starts"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Window(BaseModel):
    """When a tenant may be changed, in its own time zone, every week. A tenant without one may be changed at any time.

    What lets more of the week be used (a further window, the last one taken away) takes two people: `asked_by` is
    the one who asks. A further window does not count (`is_on`) until another agrees.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="windows")
    days = ArrayField(
        models.PositiveSmallIntegerField(validators=[MaxValueValidator(6)]),
        help_text="days of the week on which it opens, 0 is Monday",
    )
    opens_at = models.TimeField(help_text="by the tenant's clock")
    minutes = models.PositiveSmallIntegerField(
        default=120, validators=[MinValueValidator(15), MaxValueValidator(1_440)]
    )
    lets_security_through = models.BooleanField(
        default=True, help_text="security releases do not wait for it"
    )
    is_on = models.BooleanField(
        default=True, db_default=True, help_text="counts; a further window once a second person agreed"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    asked_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["tenant", "opens_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "days", "opens_at"], name="window_once"),
            models.CheckConstraint(condition=models.Q(minutes__range=(15, 1_440)), name="window_length"),
            models.CheckConstraint(
                condition=models.Q(is_on=True) | models.Q(asked_by__isnull=False),
                name="window_off_is_asked_for",
            ),
        ]

    def __str__(self) -> str:
        return f"window of tenant {self.tenant_id}"

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}


class BlastPolicy(BaseModel):
    """At most so much of a scope may be changing or unhealthy at once, over everything that is asked for.

    It counts instances, the tenants on them, what these pay a month, or the cells they are in (`measures`).

    Lowering a limit counts at once. Raising it is proposed by one person and takes effect when another agrees.
    """

    scope = models.CharField(max_length=8, choices=PolicyScope.choices)
    object_id = models.BigIntegerField(
        default=0, help_text="id of the account, region, plan or cell; 0 for the fleet"
    )
    label = models.CharField(max_length=120, blank=True)
    measure = models.CharField(max_length=9, choices=Measure.choices, default=Measure.INSTANCES)
    currency = models.CharField(
        max_length=3, blank=True, validators=[currency_validator], help_text="of revenue: which one counts"
    )
    max_count = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    max_percent = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    wanted_count = models.PositiveIntegerField(null=True, blank=True)
    wanted_percent = models.PositiveSmallIntegerField(null=True, blank=True)
    wanted_reason = models.CharField(max_length=500, blank=True)
    wanted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    raised_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["scope", "label", "measure", "currency"]
        verbose_name_plural = "blast policies"
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "object_id", "measure", "currency"], name="blastpolicy_measure_once"
            ),
            models.CheckConstraint(
                condition=models.Q(measure=Measure.REVENUE) ^ models.Q(currency=""),
                name="blastpolicy_currency_of_revenue",
            ),
            models.CheckConstraint(
                condition=models.Q(max_count__isnull=False) | models.Q(max_percent__isnull=False),
                name="blastpolicy_limits_something",
            ),
        ]

    def __str__(self) -> str:
        return f"blast radius of {self.label or self.get_scope_display().lower()}"
