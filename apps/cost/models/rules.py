"""Versions of the allocation rules."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from ..choices import Driver, RuleKind, SetState


class RuleSet(BaseModel):
    """One version of the allocation rules, in order. Active ones are never edited: a new version is drafted."""

    version = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=8, choices=SetState.choices, default=SetState.DRAFT)
    note = models.CharField(max_length=300, blank=True)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state=SetState.ACTIVE), name="ruleset_one_active"
            ),
            models.UniqueConstraint(
                fields=["state"], condition=Q(state=SetState.DRAFT), name="ruleset_one_draft"
            ),
        ]

    def __str__(self) -> str:
        return f"rules version {self.version}"


class Rule(BaseModel):
    """One rule: which lines (service, sub-account, category; empty is any), and whose they are.

    The first rule in order that finds a tenant for a line takes it. `shares` maps tenant keys to weights.
    """

    ruleset = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=12, choices=RuleKind.choices)
    service = models.CharField(max_length=120, blank=True)
    sub_account = models.CharField(max_length=200, blank=True, help_text="its id on the bill")
    category = models.CharField(
        max_length=20, blank=True, help_text="Usage, Purchase, Tax, Credit, Adjustment"
    )
    tag = models.CharField(max_length=120, blank=True, help_text="key of the tag")
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="cost_rules"
    )
    driver = models.CharField(max_length=10, choices=Driver.choices, blank=True)
    shares = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["ruleset", "position"]
        constraints = [models.UniqueConstraint(fields=["ruleset", "position"], name="rule_position_once")]

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self) -> str:
        """What it does, in a few words."""
        if self.kind not in RuleKind.values:
            return "a rule without a kind"
        what = {
            RuleKind.TAG: f"tag “{self.tag}” names the tenant",
            RuleKind.FIXED: f"all to {self.tenant.key if self.tenant else '?'}",
            RuleKind.USAGE: f"shared by {self.get_driver_display().lower()}" if self.driver else "",
        }.get(RuleKind(self.kind), str(RuleKind(self.kind).label).lower())
        where = [value for value in (self.service, self.sub_account, self.category) if value]
        return f"{what} ({', '.join(where)})" if where else what

    def clean(self) -> None:
        """Raises ValidationError where the kind lacks what it needs."""
        needs = {
            RuleKind.TAG: "tag",
            RuleKind.FIXED: "tenant",
            RuleKind.USAGE: "driver",
            RuleKind.SHARES: "shares",
        }
        field = needs.get(RuleKind(self.kind)) if self.kind else None
        if field and not getattr(self, field):
            raise ValidationError({field: f"“{RuleKind(self.kind).label}” needs it."})
        if any(sign in self.tag for sign in '"\\'):
            raise ValidationError({"tag": "A tag's key here holds no quotation mark and no backslash."})
        if self.kind == RuleKind.SHARES:
            _check_shares(self.shares)


def _check_shares(shares: Any) -> None:
    if not isinstance(shares, dict) or not all(
        isinstance(weight, int) and not isinstance(weight, bool) and 0 < weight <= 10**9
        for weight in shares.values()
    ):
        raise ValidationError({"shares": "Give whole numbers from 1 to 1,000,000,000 by tenant key."})
