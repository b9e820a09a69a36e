"""What customers are told of changes: a draft, then a letter to their contacts."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from ..choices import NoticeState
from .rollouts import Rollout
from .rules import Hold


class CustomerNotice(BaseModel):
    """One text to one tenant, about a rollout or about its hold that was overridden.

    Its addresses are the contacts when it was sent. One whose tenant has none stays a draft until somebody says how
    they told it.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="notices")
    rollout = models.ForeignKey(
        Rollout, null=True, blank=True, on_delete=models.PROTECT, related_name="notices"
    )
    hold = models.ForeignKey(Hold, null=True, blank=True, on_delete=models.PROTECT, related_name="notices")
    subject = models.CharField(max_length=200)
    body = models.TextField()
    state = models.CharField(max_length=8, choices=NoticeState.choices, default=NoticeState.DRAFT)
    why = models.CharField(max_length=300, blank=True, help_text="why it is in this state")
    addresses = ArrayField(models.EmailField(), default=list, blank=True)
    written_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    sent_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"], name="customernotice_queued", condition=models.Q(state=NoticeState.QUEUED)
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "tenant"],
                condition=models.Q(rollout__isnull=False),
                name="customernotice_once_a_rollout",
            )
        ]

    def __str__(self) -> str:
        return f"notice to tenant {self.tenant_id}: {self.subject}"

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}
