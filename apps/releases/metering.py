"""A gate's figures by PromQL: what instances answered since a wave bakes, from a `MetricSource`.

Names travel in the query, CHUNK at a time. An answer is kept for a few seconds, since a rollout that waits looks
several times a second and no Prometheus learns more in that time; that it is away is kept somewhat longer.
"""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from apps.access.choices import Permission
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.fleet import prometheus
from apps.fleet.prometheus import Unanswered

from .gates import Traffic
from .models import MetricSource
from .services import given_reason, require_everywhere

#: Instances that one query names, and seconds that it may take.
CHUNK, SECONDS = 200, 5.0
#: Seconds for which an answer counts, and for which a source that was away is not asked again.
KEPT, AWAY = 5.0, 15.0
WORDS = {"instances", "window", "step"}

_kept: dict[tuple[Any, ...], tuple[float, Traffic | Unanswered]] = {}


def save_source(source: MetricSource, *, actor: Any, reason: str) -> MetricSource:
    """Write a source. Raises Refused, or ValidationError for a query without `$instances` or with an unknown word."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    source.full_clean()
    for field in ("requests", "errors", "latency"):
        if wrong := _wrong_with(getattr(source, field)):
            raise ValidationError({field: wrong})
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        source.save()
        record([event("metric_source.saved", f"Source of metrics “{source}” was set", tone=Tone.WARN)])
    _kept.clear()
    return source


def _wrong_with(query: str) -> str:
    template = Template(query)
    if not template.is_valid():
        return "A $ stands before instances, window or step, or is written twice."
    named = set(template.get_identifiers())
    if unknown := named - WORDS:
        return f"${sorted(unknown)[0]} is not known; there are $instances, $window and $step."
    return (
        ""
        if "instances" in named
        else "The query must ask for $instances, or it would give the whole fleet's."
    )


def traffic_from(source: MetricSource, names: Sequence[str], since: datetime) -> Traffic:
    """What these instances answered since then. Raises Unanswered, which says why."""
    key = (source.pk, source.updated_at, tuple(names), since)
    now = time.monotonic()
    for old in [k for k, (until, _) in _kept.items() if until < now]:
        del _kept[old]
    if key not in _kept:
        try:
            _kept[key] = time.monotonic() + KEPT, _asked(source, names, since)
        except Unanswered as refusal:
            _kept[key] = time.monotonic() + AWAY, refusal
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # Whatever speaks its API may answer anything: that is no answer, and the gate waits.
            odd = Unanswered(f"Its answer to “{source}” cannot be read: {type(error).__name__}.")
            _kept[key] = time.monotonic() + AWAY, odd
    found = _kept[key][1]
    if isinstance(found, Unanswered):
        raise found
    return found


def _asked(source: MetricSource, names: Sequence[str], since: datetime) -> Traffic:
    now = timezone.now()
    step = source.step_seconds
    requests = errors = 0.0
    latencies: list[float] = []
    for begin in range(0, len(names), CHUNK):
        some = set(names[begin : begin + CHUNK])
        words = {
            # Names of instances are letters, digits and hyphens: nothing in them means anything to RE2.
            "instances": "|".join(sorted(some)),
            "window": f"{max(1, int((now - since).total_seconds()))}s",
            "step": f"{step}s",
        }
        requests += _sum(source, source.requests, words, some, now)
        errors += _sum(source, source.errors, words, some, now)
        # The first measurement is over `step` seconds too: none reaches back to before the wave was changed.
        start = since + timedelta(seconds=step)
        if start <= now:
            query = Template(source.latency).substitute(words)
            for series in prometheus.ask_range(query, start=start, end=now, step=step, seconds=SECONDS):
                if series.labels.get(source.label) in some:
                    latencies += series.values
    requests = round(requests)
    return Traffic(requests, min(round(errors), requests), latencies)


def _sum(source: MetricSource, text: str, words: dict[str, str], some: set[str], at: datetime) -> float:
    samples = prometheus.ask(Template(text).substitute(words), at=at, seconds=SECONDS)
    found = sum(s.value for s in samples if s.labels.get(source.label) in some)
    if not 0 <= found < math.inf:
        raise Unanswered(f"“{source}” gives {found:g} requests, which can be no count.")
    return found
