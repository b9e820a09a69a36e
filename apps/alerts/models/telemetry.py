"""Where figures and logs of a place are kept beside the portal, and where a dashboard shows them."""

from django.db import models

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.fleet.models import Cell


class TelemetrySource(BaseModel):
    """A Prometheus, a Loki, a Grafana, of a cell, an account or everything: the narrowest that fits an instance is asked.

    Its tokens are sealed and never shown.
    """

    name = models.CharField(max_length=60, unique=True)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    prometheus_url = models.CharField(
        "Prometheus", max_length=300, blank=True, help_text="anything with its query API; without /api/v1"
    )
    prometheus_token_sealed = models.TextField(blank=True, editable=False)
    loki_url = models.CharField(
        "Loki", max_length=300, blank=True, help_text="anything with its query API; without /loki/api/v1"
    )
    loki_token_sealed = models.TextField(blank=True, editable=False)
    org_id = models.CharField(
        "Organisation", max_length=100, blank=True, help_text="sent as X-Scope-OrgID, for Mimir and Loki"
    )
    instance_label = models.CharField(
        max_length=60, default="daytwo_instance", help_text="the label that holds an instance's name"
    )
    tenant_label = models.CharField(
        max_length=60, blank=True, default="tenant",
        help_text="the label that holds a tenant's key; empty: none, lines are searched for it",
    )  # fmt: skip
    queries = models.JSONField(
        default=dict, blank=True, help_text="PromQL by figure, where the product's metrics have other names"
    )
    grafana_url = models.CharField(
        "Dashboard", max_length=1_000, blank=True,
        help_text="address of a dashboard; {instance}, {cell}, {account}, {from} and {to} are filled in",
    )  # fmt: skip
    is_enabled = models.BooleanField(default=True)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "prometheus_token_sealed", "loki_token_sealed")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) | models.Q(cell__isnull=True),
                name="telemetry_one_place",
            ),
            models.CheckConstraint(
                condition=~models.Q(prometheus_url="", loki_url="", grafana_url=""),
                name="telemetry_has_something",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def event_context(self) -> dict[str, int | None]:
        return {"cell_id": self.cell_id, "account_id": self.account_id}
