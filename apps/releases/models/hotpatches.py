"""Hot patches: a version for one tenant alone, off the main line, until a time."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from .rollouts import Rollout
from .rules import Hold


class HotPatch(BaseModel):
    """One tenant on a version of its own, brought by a rollout of its instances alone.

    It is in force from the end of that rollout until the tenant runs something else; meanwhile `hold` pins the tenant
    to it. `until` is when somebody promised to have it back on the main line: nothing is changed then, people are
    reminded (`told`: how often so far).
    """

    rollout = models.OneToOneField(Rollout, on_delete=models.PROTECT, related_name="hot_patch")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="hot_patches")
    until = models.DateTimeField()
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    in_force_since = models.DateTimeField(null=True, blank=True)
    hold = models.ForeignKey(Hold, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    told = models.PositiveSmallIntegerField(default=0, help_text="reminders so far")
    told_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "hot patches"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(ended_at__isnull=True),
                name="hotpatch_one_of_a_tenant",
            )
        ]
        indexes = [
            models.Index(fields=["until"], name="hotpatch_open", condition=models.Q(ended_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"hot patch of tenant {self.tenant_id}"

    @property
    def is_overdue(self) -> bool:
        """Whether it should have been back on the main line by now."""
        return self.ended_at is None and self.until <= timezone.now()

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}
