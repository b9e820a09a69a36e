"""Rules, kept by people."""

from typing import Any

from django.db import transaction

from apps.access.choices import Permission
from apps.core.context import acting

from ..choices import RuleKind
from ..models import AlertRule
from ..services import require_on


def save(rule: AlertRule, *, actor: Any) -> AlertRule:
    """Keep a rule. Raises ValidationError, Http404, PermissionDenied: a query may name anything, so it takes all."""
    before = AlertRule.objects.filter(pk=rule.pk).first() if rule.pk else None
    for one in (before, rule):
        if one is not None:
            require_on(
                actor,
                Permission.MANAGE_ALERTS,
                None if one.kind == RuleKind.PROMQL else one.cell or one.account,
            )
    rule.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the rule {rule.name}"):
        rule.save()
    return rule
