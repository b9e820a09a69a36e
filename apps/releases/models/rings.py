"""Rings: the order in which tenants get new things."""

from django.core.validators import MaxValueValidator
from django.db import models

from apps.core.models import BaseModel
from apps.tenants.models import Plan, Tenant


class Ring(BaseModel):
    """A group of tenants whose turn comes after all rings before it. Positions are 1, 2, 3…, first to last.

    Rollouts keep the rings they were planned by: to change one changes no rollout that is prepared already.
    """

    name = models.CharField(max_length=60, unique=True)
    position = models.PositiveSmallIntegerField(help_text="1 comes first")
    description = models.CharField(max_length=300, blank=True)
    rest_seconds = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(90 * 86_400)],
        help_text="so long at least after its last wave has passed, before the next ring begins",
    )
    lets_security_through = models.BooleanField(
        default=True, help_text="security releases do not wait for that time"
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["position"], name="ring_position_once", deferrable=models.Deferrable.DEFERRED
            )
        ]

    def __str__(self) -> str:
        return self.name


class RingMember(BaseModel):
    """A tenant, or all tenants of a plan, in a ring. A tenant's own entry wins over its plan's."""

    ring = models.ForeignKey(Ring, on_delete=models.PROTECT, related_name="members")
    tenant = models.OneToOneField(
        Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="ring_entry"
    )
    plan = models.OneToOneField(
        Plan, null=True, blank=True, on_delete=models.CASCADE, related_name="ring_entry"
    )

    class Meta:
        ordering = ["ring__position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(tenant__isnull=True) ^ models.Q(plan__isnull=True),
                name="ringmember_tenant_or_plan",
            )
        ]

    def __str__(self) -> str:
        return f"{'tenant' if self.tenant_id else 'plan'} {self.tenant_id or self.plan_id} in ring {self.ring_id}"

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}
