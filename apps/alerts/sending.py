"""The outbox: pages are claimed, sent by Apprise with no lock held, and each attempt is kept.

A worker that dies while it sends leaves a lease that runs out; the page is sent again and says that it may be the second.
"""

import logging
import re
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import apprise
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting

from .choices import JUMP, EscalationState, IncidentState, PageState
from .models import Channel, Delivery, Escalation, Page
from .nudging import nudge
from .seals import Unreadable, from_environment, unseal
from .telling import of_incident, tell

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
#: Seconds before each further try on one channel; after the last the next channel is tried.
BACKOFF = (2, 10)
#: What a channel may be: services that carry a message away, none that acts on this machine.
SCHEMES = frozenset(
    "slack mailto mailtos json jsons xml xmls form forms pagerduty opsgenie msteams workflows workflow discord tgram ntfy "
    "ntfys matrix matrixs mmost mmosts rocket rockets pover splunk victorops signal signals twilio sns zulip "
    "gchat webex wxteams gotify gotifys pushbullet pbul squadcast spugpush".split()
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. `detail` never holds an address or what a service answered."""

    is_ok: bool
    detail: str
    took_ms: int = 0


def check_address(url: str) -> str:
    """The address's scheme. Raises ValueError that does not repeat the address."""
    scheme = urlsplit(url.strip()).scheme.lower()
    if scheme not in SCHEMES:
        raise ValueError(
            f"It begins with no service that is known here; these are: {', '.join(sorted(SCHEMES))}."
        )
    if apprise.Apprise.instantiate(url.strip(), suppress_exceptions=True) is None:
        raise ValueError(f"This is no complete {scheme}:// address; see Apprise's page on that service.")
    return scheme


def address_of(channel: Channel) -> str:
    """Where a channel leads. Raises Unreadable. Give it to Apprise and to nothing else."""
    return from_environment(channel.url_from) if channel.url_from else unseal(channel.url_sealed)


def send_by(channel: Channel, title: str, body: str) -> Outcome:
    """One attempt, which takes as long as the service does (Apprise gives up after 4 s to connect, 4 s to answer)."""
    began = time.perf_counter()
    try:
        url = address_of(channel)
        check_address(url)
    except (Unreadable, ValueError) as error:
        return Outcome(False, str(error)[:200])
    try:
        carrier = apprise.Apprise()
        carrier.add(url)
        with apprise.LogCapture(level=logging.WARNING) as captured:  # type: ignore[no-untyped-call]
            is_ok = bool(carrier.notify(title=title, body=body))
            said = captured.getvalue()
    except Exception as error:  # noqa: BLE001 - a plugin's fault must not stop the other pages
        is_ok, said = False, type(error).__name__
    took = int((time.perf_counter() - began) * 1000)
    return Outcome(is_ok, "" if is_ok else _reason(said), took)


def _reason(said: str) -> str:
    """Why an attempt failed, without anything that may be a secret: the service's status alone."""
    if found := re.search(r"error=(\d{3})", said):
        return f"the service answered {found[1]}"
    return "the service could not be reached, or refused it"


# --- The outbox ------------------------------------------------------------------------------------


def wake() -> int:
    """Have the outbox looked at when something in it is due: sending has a queue of its own. Gives 1 when it was."""
    if not Page.objects.filter(_due()).exists():
        return 0
    nudge("send_pages")
    return 1


def _due() -> Q:
    now = timezone.now()
    far = now + JUMP + timedelta(seconds=max(BACKOFF))  # the clock was wrong when it was put off
    waits = Q(next_at__lte=now) | Q(next_at__gt=far)
    lost = Q(lease_until__lt=now) | Q(lease_until__gt=now + JUMP + LEASE)
    return Q(state=PageState.PENDING) & waits | Q(state=PageState.SENDING) & lost


def send_pages() -> int:
    """Send all that is due; gives how many attempts were made."""
    made = 0
    while (page := claim()) is not None:
        if withdraw(page):
            continue
        channel = (
            Channel.objects.filter(pk=page.channels[page.place], is_enabled=True).first()
            if page.channels
            else None
        )
        body = page.body + (
            "\n(This may be the second time: a worker died while it sent this.)" if page.may_repeat else ""
        )
        outcome = (
            Outcome(False, "the channel is gone or disabled")
            if channel is None
            else send_by(channel, page.title, body)
        )
        keep(page, channel, outcome)
        made += 1
    return made


def claim() -> Page | None:
    """One page that is due, now this worker's for LEASE; by a conditional UPDATE, so nobody else's."""
    now = timezone.now()
    for page in Page.objects.filter(_due()).order_by("next_at", "id")[:20]:
        mine = Page.objects.filter(pk=page.pk, state=page.state, claim=page.claim, next_at=page.next_at)
        changes = {"state": PageState.SENDING, "claim": uuid.uuid4(), "lease_until": now + LEASE}
        changes["may_repeat"] = page.may_repeat or page.state == PageState.SENDING
        if mine.update(**changes):
            page.refresh_from_db()
            return page
    return None


def withdraw(page: Page) -> bool:
    """Give a claimed page up when nobody is to be told any more: it was acknowledged, or is over; whether it was.

    The last look before the message goes out. Who acknowledges while it is on its way is told all the same.
    """
    mine = Page.objects.filter(pk=page.pk, claim=page.claim, state=PageState.SENDING, incident__isnull=False)
    needless = mine.exclude(incident__state=IncidentState.TRIGGERED)
    changes = {"state": PageState.CANCELLED, "claim": None, "lease_until": None, "ended_at": timezone.now()}
    return bool(needless.update(**changes))


def keep(page: Page, channel: Channel | None, outcome: Outcome) -> None:
    """Write what an attempt came to, and what follows: sent, another try, the next channel, or the next step."""
    now = timezone.now()
    with acting(system_actor("alerts"), reason="", via="system"), transaction.atomic(durable=True):
        mine = Page.objects.filter(pk=page.pk, claim=page.claim, state=PageState.SENDING)
        Delivery.objects.create(
            page=page, channel=channel, is_ok=outcome.is_ok, detail=outcome.detail, took_ms=outcome.took_ms
        )
        if outcome.is_ok:
            mine.update(state=PageState.SENT, claim=None, lease_until=None, ended_at=now)
        elif channel is not None and page.tries < len(BACKOFF):
            after = now + timedelta(seconds=BACKOFF[page.tries])
            mine.update(
                state=PageState.PENDING, claim=None, lease_until=None, tries=page.tries + 1, next_at=after
            )
        elif page.place + 1 < len(page.channels):
            mine.update(
                state=PageState.PENDING,
                claim=None,
                lease_until=None,
                tries=0,
                place=page.place + 1,
                next_at=now,
            )
        else:
            mine.update(state=PageState.FAILED, claim=None, lease_until=None, ended_at=now)
            _next_step(page, now)
        if page.incident is not None and (outcome.is_ok or channel is None or page.tries >= len(BACKOFF)):
            _tell(page, channel, outcome)


def _tell(page: Page, channel: Channel | None, outcome: Outcome) -> None:
    assert page.incident is not None  # noqa: S101 - the caller looked
    whom = str(page.recipient or channel or "the team")
    by = f" by {channel.name}" if channel else ""
    if outcome.is_ok:
        tell(
            [
                of_incident(
                    page.incident, "delivered", f"{whom} was reached{by}", why=f"in {outcome.took_ms} ms"
                )
            ]
        )
    else:
        tell(
            [
                of_incident(
                    page.incident,
                    "undelivered",
                    f"{whom} could not be reached{by}",
                    why=outcome.detail,
                    tone=Tone.BAD,
                )
            ]
        )


def _next_step(page: Page, now: datetime) -> None:
    """No channel carried it: whoever comes next is told at once."""
    if page.incident is None:
        return
    Escalation.objects.filter(
        incident=page.incident, state=EscalationState.ACTIVE, turn=page.turn + 1, next_at__gt=now
    ).update(next_at=now)
    transaction.on_commit(lambda: nudge("escalate"))
