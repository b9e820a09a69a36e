"""Evaluation: what a rule finds becomes signals, as far as alerts do not say it yet."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from apps.fleet.choices import Wanted
from apps.fleet.models import Instance

from .. import intake
from ..choices import AlertState, Direction, Metric, RuleKind, Severity, SignalState
from ..models import Alert, AlertRule, Signal
from . import asking, measuring

logger = logging.getLogger(__name__)
SOURCE = "rules"
#: The short window of a burn is this part of the long one (Google SRE workbook, chapter 5).
SHORT = 12
UNITS = {
    Metric.REQUESTS: "requests/s", Metric.ERRORS: "% errors", Metric.LATENCY: "ms", Metric.CPU: "cores", Metric.MEMORY: "MB",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found on one instance, or for the labels of one sample."""

    words: str
    instance_id: int | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """All that a rule found; `known` are the instances it could judge, None where it judged all there is."""

    found: list[Found]
    known: set[int] | None


def evaluate(now: datetime | None = None) -> int:
    """Evaluate all rules; gives how many signals that made. A rule that fails keeps its alerts as they are."""
    now, wrote = now or timezone.now(), 0
    rules = list(AlertRule.objects.filter(is_enabled=True))
    for rule in rules:
        error = ""
        try:
            wrote += _say(rule, find(rule, now), now)
        except asking.Unanswered as refusal:
            error = str(refusal)[:300]
        except Exception as fault:
            logger.exception("rule %s failed", rule.pk)
            error = f"{type(fault).__name__}; see the workers' log"
        AlertRule.objects.filter(pk=rule.pk).unrecorded_update(evaluated_at=now, error=error)
    return wrote + _let_go([str(rule.pk) for rule in rules], now)


def find(rule: AlertRule, now: datetime) -> Finding:
    """What it finds now. Raises asking.Unanswered."""
    window = timedelta(seconds=rule.window)
    if rule.kind == RuleKind.PROMQL:
        samples = asking.ask(rule)
        return Finding([Found(f"{s.value:g}", labels=s.labels) for s in samples], None)
    if rule.kind == RuleKind.ABSENCE:
        silent = measuring.silent(rule, now - window)
        return Finding([Found(f"not measured for {rule.window} s", pk) for pk in silent], None)
    seen = measuring.figures(rule, now - window, now)
    if rule.kind == RuleKind.BURN:
        return _burn(rule, seen, measuring.figures(rule, now - window / SHORT, now))
    if rule.kind == RuleKind.CHANGE:
        return _change(rule, seen, measuring.figures(rule, now - 2 * window, now - window))
    found = []
    for pk, one in seen.items():
        value = one.value(rule.metric)
        if _enough(rule, one) and _passes(rule, value):
            found.append(
                Found(f"{value:.4g} {UNITS[Metric(rule.metric)]}, {rule.direction} {rule.threshold:g}", pk)
            )
    return Finding(found, set(seen))


def _passes(rule: AlertRule, value: float) -> bool:
    return value > rule.threshold if rule.direction == Direction.OVER else value < rule.threshold


def _enough(rule: AlertRule, one: measuring.Figures) -> bool:
    """Whether there were requests enough to say something; CPU, memory and requests themselves need none."""
    return rule.metric not in (Metric.ERRORS, Metric.LATENCY) or one.requests >= rule.least_requests


def _burn(
    rule: AlertRule, long: dict[int, measuring.Figures], short: dict[int, measuring.Figures]
) -> Finding:
    """Both windows burn: the long one says that it matters, the short one that it goes on."""
    budget = (100 - rule.objective) / 100
    found = []
    for pk, one in long.items():
        now = short.get(pk)
        if now is None or one.requests < rule.least_requests or not now.requests:
            continue
        paces = [f.errors / f.requests / budget for f in (one, now)]
        if min(paces) > rule.threshold:
            words = f"burns its error budget {paces[0]:.1f} times too fast, {paces[1]:.1f} times just now"
            found.append(Found(f"{words} (objective {rule.objective:g} %)", pk))
    return Finding(found, set(long))


def _change(
    rule: AlertRule, now: dict[int, measuring.Figures], before: dict[int, measuring.Figures]
) -> Finding:
    """By so many per cent against the window before; from nothing there is no change in per cent."""
    found = []
    for pk, one in now.items():
        was = before.get(pk)
        if was is None or was.requests < rule.least_requests or not (old := was.value(rule.metric)):
            continue
        change = 100 * (one.value(rule.metric) - old) / old
        is_over = change > rule.threshold if rule.direction == Direction.OVER else change < -rule.threshold
        if is_over:
            unit = UNITS[Metric(rule.metric)]
            found.append(Found(f"{change:+.0f} %: {old:.4g} to {one.value(rule.metric):.4g} {unit}", pk))
    return Finding(found, set(now))


# --- Saying it -----------------------------------------------------------------------------------


def _say(rule: AlertRule, finding: Finding, now: datetime) -> int:
    where = _places({f.instance_id for f in finding.found if f.instance_id})
    firing = {
        s.fingerprint: s for s in intake.locate([_said(rule, f, where, now) for f in finding.found], SOURCE)
    }
    mine = Alert.objects.filter(source_name=SOURCE, state=AlertState.OPEN, labels__rule=str(rule.pk))
    told = {a.fingerprint: a for a in mine}
    over = [a for key, a in told.items() if key not in firing and _is_judged(a, finding)]
    new = [s for key, s in firing.items() if key not in told or told[key].severity != s.severity]
    return _write(new, over, now)


def _is_judged(alert: Alert, finding: Finding) -> bool:
    """Whether it is known to be over: an instance that could not be measured keeps its alert while it is to run."""
    if finding.known is None or alert.instance_id is None or alert.instance_id in finding.known:
        return True
    return not Instance.objects.filter(pk=alert.instance_id, wanted=Wanted.RUNNING).exists()


def _let_go(rules: list[str], now: datetime) -> int:
    """Resolve what rules opened that are off or gone."""
    rows = Alert.objects.filter(source_name=SOURCE, state=AlertState.OPEN).exclude(labels__rule__in=rules)
    return _write([], list(rows[:2_000]), now)


def _write(firing: list[intake.Said], over: list[Alert], now: datetime) -> int:
    prints = [*(s.fingerprint for s in firing), *(a.fingerprint for a in over)]
    waiting = set(
        Signal.objects.filter(Q(fingerprint__in=prints), processed_at__isnull=True).values_list(
            "fingerprint", flat=True
        )
    )
    said = [s for s in firing if s.fingerprint not in waiting]
    said += [_resolved(a, now) for a in over if a.fingerprint not in waiting]
    intake.write(SOURCE, said)
    return len(said)


def _resolved(alert: Alert, now: datetime) -> intake.Said:
    return intake.Said(
        state=SignalState.RESOLVED, name=alert.name, severity=Severity.INFO, summary=alert.summary, labels=alert.labels,
        at=now, fingerprint=alert.fingerprint, instance_id=alert.instance_id, cell_id=alert.cell_id,
        account_id=alert.account_id, tenant_id=alert.tenant_id,
    )  # fmt: skip


def _places(ids: Iterable[int]) -> dict[int, str]:
    return dict(Instance.objects.filter(pk__in=list(ids)).values_list("pk", "name"))


def _said(rule: AlertRule, found: Found, names: Mapping[int, str], now: datetime) -> intake.Said:
    labels: dict[str, Any] = {**(found.labels or {}), "alertname": rule.name, "rule": str(rule.pk)}
    name = names.get(found.instance_id or 0, "")
    if name:
        labels["daytwo_instance"] = name
    on = name or labels.get("daytwo_instance") or labels.get("instance") or ""
    return intake.Said(
        state=SignalState.FIRING, name=rule.name, severity=rule.severity,
        summary=f"{rule.name}{f' on {on}' if on else ''}: {found.words}"[:300], labels=labels, at=now,
    )  # fmt: skip
