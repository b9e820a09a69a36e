"""Common faults mend themselves, inside limits: decide, act, see whether it helped, stop when it does not.

Decisions are taken under a lock, one worker at a time, so that limits hold whatever the number of alerts. An answer is
first a committed decision, then an operation with the decision as its idempotency key: a worker that dies in between
leaves a decision that the next look carries out, once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.operations import services
from apps.operations.choices import State, Via
from apps.operations.models import Operation

from . import approving, intake
from .choices import (
    RANK,
    AlertState,
    DecisionState,
    Remedy,
    RunState,
    Severity,
    SignalState,
    Verdict,
    at_least,
)
from .limits import HOUR, Done, Ledger
from .matching import condition, fits
from .models import Alert, RecoveryDecision, RecoveryPolicy, RunbookRun
from .nudging import nudge
from .runbooks import reading, running
from .services import Refused
from .taking_back import version_before
from .telling import of_incident, tell

LOCK = 7_320_011
#: Open alerts read at a time; all of them are decided about, however many there are.
AT_ONCE = 5_000
UNDER_WAY = (DecisionState.WAITING, DecisionState.DECIDED, DecisionState.ACTING)
#: States of operations that an answer waits for. One that waits for approval may do so for days.
BUSY = (State.PENDING, State.RUNNING)
FAILED = (DecisionState.NO_HELP, DecisionState.REFUSED)
#: How an answer ended, in words and as the event's kind; what is in neither did not help.
WORDS = {
    DecisionState.HELPED: "helped",
    DecisionState.REFUSED: "was refused",
    DecisionState.CLOSED: "was not needed any more",
}
EVENTS = {DecisionState.HELPED: "recovered", DecisionState.CLOSED: "recovery"}
BREAKER = "RecoveryBreakerOpen"
SOURCE = "recovery"


def matches(policy: RecoveryPolicy, alert: Alert) -> bool:
    """Whether this policy answers this alert."""
    return (
        alert.instance_id is not None
        and RANK[Severity(alert.severity)] <= RANK[Severity(policy.min_severity)]
        and fits(alert, policy, name=policy.alert_name)
    )


def policy_for(policies: Sequence[RecoveryPolicy], alert: Alert) -> RecoveryPolicy | None:
    """The policy that decides about an alert: the first that fits. `policies` come in order of rank."""
    return next((p for p in policies if matches(p, alert)), None)


def decide(now: datetime | None = None) -> int:
    """Decide about open alerts and carry out what was decided; gives how many operations were asked for."""
    now = now or timezone.now()
    with acting(system_actor("recovery"), reason="", via="system"), transaction.atomic(durable=True):
        if not _alone():
            return 0
        policies = list(
            RecoveryPolicy.objects.filter(is_enabled=True).select_related("runbook").order_by("rank", "pk")
        )
        if policies:
            _decide_all(policies, now)
    return carry_out()


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _decide_all(policies: Sequence[RecoveryPolicy], now: datetime) -> None:
    """Go through every open alert that a policy answers, oldest first: none waits behind others that are held."""
    ledgers, last = _ledgers(now), 0
    while alerts := list(_open_alerts(policies).filter(pk__gt=last)[:AT_ONCE]):
        last = alerts[-1].pk
        _decide_some(policies, alerts, ledgers, now)


def _ledgers(now: datetime) -> dict[bool, Ledger]:
    """By whether a policy only says what it would do: what was done counts for both, what would have been for it alone."""
    rows = RecoveryDecision.objects.filter(verdict__in=[Verdict.ACT, Verdict.DRY_RUN], at__gt=now - HOUR)
    found = [
        (row[0], Done(*row[1:]))
        for row in rows.values_list("verdict", "at", "instance_id", "cell_id", "policy_id")
    ]
    return {
        False: Ledger.of(d for verdict, d in found if verdict == Verdict.ACT),
        True: Ledger.of(d for _, d in found),
    }


def _open_alerts(policies: Sequence[RecoveryPolicy]) -> QuerySet[Alert]:
    """The open alerts that one of these policies answers, on instances that nothing is being done to."""
    answered = Q(pk__in=[])
    for p in policies:
        named = condition(name=p.alert_name, labels=p.labels, account_id=p.account_id, cell_id=p.cell_id)
        answered |= named & Q(severity__in=at_least(p.min_severity))
    under_way = Operation.objects.filter(
        target_type="instance", target_id=OuterRef("instance_id"), is_changing=True, state__in=BUSY
    )
    rows = Alert.objects.filter(answered, ~Exists(under_way), state=AlertState.OPEN, instance__isnull=False)
    return rows.order_by("id")


def _decide_some(
    policies: Sequence[RecoveryPolicy], alerts: Sequence[Alert], ledgers: dict[bool, Ledger], now: datetime
) -> None:
    ids = [alert.pk for alert in alerts]
    rows = RecoveryDecision.objects.filter(alert_id__in=ids).order_by("alert_id", "-id")
    latest = {d.alert_id: d for d in rows.distinct("alert_id")}
    made = []
    for alert in alerts:
        policy = policy_for(policies, alert)
        before = latest.get(alert.pk)
        if policy is None or (before and (before.state in UNDER_WAY or before.is_declined)):
            continue
        if (now - alert.opened_at).total_seconds() < policy.delay:
            continue
        decision = _judge(policy, alert, ledgers, before, now)
        if decision is not None:
            made.append(decision)
    approving.hold_large(made)
    RecoveryDecision.objects.bulk_create(made, batch_size=1_000)
    told = [d for d in made if d.verdict == Verdict.ACT and d.incident is not None]
    tell(
        of_incident(
            d.incident,
            "recovery",
            f"Recovery: {d.policy} {'waits for approval' if d.state == DecisionState.WAITING else 'answers'}",
            why=d.why,
            tone=Tone.BUSY,
            instance_id=d.instance_id,
        )
        for d in told
        if d.incident
    )


def _judge(
    policy: RecoveryPolicy,
    alert: Alert,
    ledgers: dict[bool, Ledger],
    before: RecoveryDecision | None,
    now: datetime,
) -> RecoveryDecision | None:
    """The decision about one alert; None when it is held for the reason it was held for before."""
    ledger = ledgers[policy.is_dry_run]
    kind, params, lack = remedy_for(policy, alert)
    why = lack
    if policy.broken_at is not None:
        why = "the circuit breaker is open: recoveries did not help"
    elif not lack:
        why = ledger.objection(policy, instance_id=alert.instance_id, cell_id=alert.cell_id, at=now)
    held = bool(why)
    if held and before is not None and before.verdict == Verdict.HELD and _same(before.why, why):
        return None
    if not held:
        done = Done(now, alert.instance_id, alert.cell_id, policy.pk)
        for one in (ledger,) if policy.is_dry_run else ledgers.values():
            one.add(done)
    verdict = Verdict.HELD if held else (Verdict.DRY_RUN if policy.is_dry_run else Verdict.ACT)
    number = (before.number if before else 0) + 1
    return RecoveryDecision(
        policy=policy, alert=alert, incident_id=alert.incident_id, instance_id=alert.instance_id, cell_id=alert.cell_id,
        number=number, verdict=verdict, why=(why or f"{alert.name}, try {ledger.by_instance[alert.instance_id]} of {policy.tries} within an hour")[:300],
        kind=kind, params=params, at=now, actor_id=system_actor("recovery").pk,
        state=DecisionState.DECIDED if verdict == Verdict.ACT else DecisionState.CLOSED,
        ended_at=None if verdict == Verdict.ACT else now,
    )  # fmt: skip


def _same(one: str, other: str) -> bool:
    """Whether two reasons are the same but for their figures (a cooldown counts down)."""
    return "".join(c for c in one if not c.isdigit()) == "".join(c for c in other if not c.isdigit())


def remedy_for(policy: RecoveryPolicy, alert: Alert) -> tuple[str, dict[str, str], str]:
    """The operation that a policy's remedy comes to: kind, parameters, and what it lacks if it cannot be done."""
    if policy.remedy == Remedy.RUNBOOK:
        return policy.remedy, {"runbook": policy.runbook.name if policy.runbook else ""}, ""
    if policy.remedy != Remedy.ROLL_BACK:
        return policy.remedy, {}, ""
    version = version_before(alert.instance_id or 0)
    if not version:
        return "deploy", {}, "no deploy of the last 24 hours to take back"
    return "deploy", {"version": version}, ""


# --- Acting ------------------------------------------------------------------------------------------


def carry_out() -> int:
    """Ask for the operations of decisions that have none yet; gives how many. Again is the same as once."""
    asked = 0
    rows = RecoveryDecision.objects.filter(state=DecisionState.DECIDED, verdict=Verdict.ACT)
    for decision in rows.select_related("policy__runbook", "alert", "instance", "incident").order_by("id")[
        :AT_ONCE
    ]:
        if not decision.alert.is_open:
            _end(decision, DecisionState.CLOSED, "the alert was resolved before it was answered")
            continue
        asked += _run(decision) if decision.kind == Remedy.RUNBOOK else _ask(decision)
    return asked


def _run(decision: RecoveryDecision) -> int:
    """As `_ask`, for a policy that names a runbook: it is run with its inputs' defaults."""
    runbook, instance = decision.policy.runbook, decision.instance
    if runbook is None or instance is None:
        _end(decision, DecisionState.REFUSED, "the policy names no runbook any more, or the instance is gone")
        return 0
    try:
        run = running.start(
            runbook=runbook, instance=instance, inputs={}, actor=system_actor("recovery"),
            reason=f"recovery “{decision.policy}” answers: {decision.alert}", key=f"recovery:{decision.pk}",
        )  # fmt: skip
    except (Refused, reading.Malformed, PermissionDenied, Http404) as refusal:
        _end(decision, DecisionState.REFUSED, str(refusal))
        return 0
    RecoveryDecision.objects.filter(pk=decision.pk, state=DecisionState.DECIDED).update(
        state=DecisionState.ACTING, run_id=run.pk
    )
    return 1


def _ask(decision: RecoveryDecision) -> int:
    try:
        operation = services.submit(
            kind=decision.kind,
            target_id=decision.instance_id or 0,
            params=decision.params,
            actor=system_actor("recovery"),
            reason=f"recovery “{decision.policy}” answers: {decision.alert}"[:500],
            idempotency_key=f"recovery:{decision.pk}",
            via=Via.SYSTEM,
        )
    except (services.Refused, PermissionDenied, Http404) as refusal:
        _end(decision, DecisionState.REFUSED, str(refusal))
        return 0
    RecoveryDecision.objects.filter(pk=decision.pk, state=DecisionState.DECIDED).update(
        state=DecisionState.ACTING, operation_id=operation.pk
    )
    return 1


def _end(decision: RecoveryDecision, state: str, result: str) -> bool:
    """End a decision by a conditional UPDATE, and tell it; whether it was this call that ended it."""
    with acting(system_actor("recovery"), reason="", via="system"), transaction.atomic(durable=True):
        rows = RecoveryDecision.objects.filter(
            pk=decision.pk, state__in=[DecisionState.DECIDED, DecisionState.ACTING]
        )
        if not rows.update(state=state, result=result[:300], ended_at=timezone.now()):
            return False
        if decision.incident is not None:
            tone = {DecisionState.HELPED: Tone.OK, DecisionState.CLOSED: Tone.PLAIN}.get(
                DecisionState(state), Tone.BAD
            )
            words = WORDS.get(DecisionState(state), "did not help")
            tell(
                [
                    of_incident(
                        decision.incident, EVENTS.get(DecisionState(state), "recovery_failed"),
                        f"Recovery: {decision.policy} {words}", why=result[:300], tone=tone,
                        operation_id=decision.operation_id, instance_id=decision.instance_id,
                    )
                ]
            )  # fmt: skip
        if state in FAILED:
            _break(decision.policy)
    return True


def see_results(now: datetime | None = None) -> int:
    """Judge answers whose operation has ended; gives how many. Helped: the alert is resolved within the grace."""
    now = now or timezone.now()
    judged = 0
    rows = RecoveryDecision.objects.filter(state=DecisionState.ACTING).select_related(
        "policy", "alert", "incident"
    )
    found = list(rows.order_by("id")[:AT_ONCE])
    operations = Operation.objects.in_bulk([d.operation_id for d in found if d.operation_id])
    runs = RunbookRun.objects.in_bulk([d.run_id for d in found if d.run_id])
    for decision in found:
        operation, run = operations.get(decision.operation_id or 0), runs.get(decision.run_id or 0)
        if run is not None and run.finished_at is not None:
            is_ok, why = run.state == RunState.SUCCEEDED, f"{run.get_state_display().lower()}: {run.error}"
            judged += _see(decision, run.finished_at, now, "" if is_ok else why)
        elif operation is not None and not operation.is_open:
            is_ok = operation.state == State.SUCCEEDED
            why = f"{operation.get_state_display().lower()}: {operation.error}"
            judged += _see(decision, operation.finished_at or now, now, "" if is_ok else why)
    judged += approving.close_needless()
    if judged:
        nudge("decide_recoveries")
    return judged


def _see(decision: RecoveryDecision, ended: datetime, now: datetime, failure: str) -> bool:
    alert = decision.alert
    if failure:
        return _end(decision, DecisionState.NO_HELP, failure)
    if not alert.is_open or alert.resolve_after is not None:
        return _end(decision, DecisionState.HELPED, "the alert is resolved")
    if (now - ended).total_seconds() > decision.policy.grace:
        return _end(
            decision, DecisionState.NO_HELP, f"still open {decision.policy.grace} s after the operation ended"
        )
    return False


def _break(policy: RecoveryPolicy) -> None:
    """Open the breaker when the last so many answers did not help: stop, and page. In the caller's transaction.

    Under the policy's lock: of two workers that each end an answer, the second sees what the first ended.
    """
    policy = RecoveryPolicy.objects.select_for_update(no_key=True).get(pk=policy.pk)
    last = (
        RecoveryDecision.objects.filter(policy=policy, verdict=Verdict.ACT, ended_at__isnull=False)
        .exclude(state=DecisionState.CLOSED)
        .order_by("-ended_at", "-id")
    )
    if policy.counts_from is not None:
        last = last.filter(at__gt=policy.counts_from)
    states = list(last.values_list("state", flat=True)[: policy.breaker_after])
    if len(states) < policy.breaker_after or any(state not in FAILED for state in states):
        return
    if RecoveryPolicy.objects.filter(pk=policy.pk, broken_at__isnull=True).update(broken_at=timezone.now()):
        intake.write(SOURCE, [breaker_signal(policy, SignalState.FIRING, last.first())])


def breaker_signal(policy: RecoveryPolicy, state: str, last: RecoveryDecision | None = None) -> intake.Said:
    """The signal that a breaker opened or was closed; about the instance of the last answer, whose incident it joins."""
    labels = {"alertname": BREAKER, "policy": policy.name}
    alert = last.alert if last else None
    return intake.Said(
        state=state, name=BREAKER, severity=Severity.CRITICAL if state == SignalState.FIRING else Severity.INFO,
        summary=f"Recovery “{policy}” stopped: {policy.breaker_after} answers in a row did not help",
        labels=labels, fingerprint=intake.fingerprint(SOURCE, labels),
        instance_id=alert.instance_id if alert else None,
        cell_id=alert.cell_id if alert else policy.cell_id,
        account_id=alert.account_id if alert else policy.account_id,
    )  # fmt: skip


def actor() -> Any:
    """Who recovers."""
    return system_actor("recovery")
