"""Letters to people: a row with what it tells of, sent afterwards. A message is a hint, the row is the truth."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from smtplib import SMTPException

from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from .models import Notice, User

logger = logging.getLogger(__name__)

MOST_TRIES = 12


def write(people: Iterable[User], subject: str, body: str, *, address: str = "") -> None:
    """Write a letter to each person who has an address, and to `address`; in the caller's transaction."""
    to = {person.email for person in people if person.email and person.is_active}
    if address:
        to.add(address)
    subject = " ".join(subject.split())[:200]
    Notice.objects.bulk_create([Notice(to=one, subject=subject, body=body) for one in sorted(to)])
    if to:
        transaction.on_commit(hint)


def hint() -> None:
    """Tell a worker that something is to be done: a queue that is away is logged, the clock hints again."""
    from .actors import keep_access

    try:
        keep_access.send()
    except Exception as error:  # noqa: BLE001 - whatever the broker raises; the clock will hint again
        logger.warning("access not hinted at, the queue is away (the clock will): %s", error)


def send_due(limit: int = 100) -> int:
    """Send the letters that are due, each by one worker; gives how many went out.

    One that cannot be sent is tried again, later each time, for about a day; then it stays with its error.
    """
    now, sent = timezone.now(), 0
    with transaction.atomic():
        rows = Notice.objects.select_for_update(skip_locked=True)
        for notice in rows.filter(sent_at__isnull=True, due_at__lte=now).order_by("due_at")[:limit]:
            sent += _send(notice)
    return sent


def _send(notice: Notice) -> bool:
    try:
        EmailMessage(notice.subject, notice.body, to=[notice.to]).send()
    except (OSError, SMTPException) as error:
        notice.tries += 1
        notice.error = f"{type(error).__name__}: {error}"[:300]
        given_up = notice.tries >= MOST_TRIES
        wait = timedelta(days=3650) if given_up else timedelta(seconds=15 * 2**notice.tries)
        notice.due_at = timezone.now() + wait
        logger.warning("notice %s not sent (try %s): %s", notice.pk, notice.tries, type(error).__name__)
    else:
        notice.sent_at, notice.error = timezone.now(), ""
    notice.save()
    return notice.sent_at is not None
