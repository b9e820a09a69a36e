"""When each instance is looked at next, and by whom now."""

from django.db import models

from .places import Instance


class Probe(models.Model):
    """The next look at an instance whose provider has to be asked. Narrow: it is written at every look.

    A prober holds it while `claim` is its own and `claimed_until` lies ahead; `failures` counts looks in a
    row that did not see it serve. Simulated instances have none: they are compared set-wise.
    """

    AUDIT_EXEMPT = "when to look next, not what anybody decided"

    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, primary_key=True, related_name="probe"
    )
    due_at = models.DateTimeField()
    claim = models.UUIDField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="probe_by_due")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(claim__isnull=True, claimed_until__isnull=True)
                | models.Q(claim__isnull=False, claimed_until__isnull=False),
                name="probe_claim_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"probe of instance {self.instance_id}"
