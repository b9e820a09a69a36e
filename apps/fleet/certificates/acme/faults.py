"""What a directory says when it does not do what was asked, in words that say what to do; limits are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import requests
from acme import errors, messages
from django.utils import timezone
from josepy.errors import Error as JoseError

from apps.core.seals import Unreadable
from apps.core.texts import storable

from ...models import CertificateIssuer
from ...providers.base import ProviderError
from .doing import doing

#: A limit that says nothing of its end holds so long; the shortest and the longest that are believed.
HELD = timedelta(hours=1)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=7)
#: Problems of the directory's own, for which another try may do (RFC 8555, 6.7).
PASSING = frozenset({"serverInternal", "badNonce"})


class IssuerFault(ProviderError):
    """A directory could not do it, or would not."""


def wait_of(header: str, now: datetime) -> timedelta:
    """How long a Retry-After header asks to wait: seconds or a date (RFC 9110, 10.2.3), within limits."""
    try:
        asked = (
            timedelta(seconds=int(header))
            if header.strip().isdigit()
            else parsedate_to_datetime(header) - now
        )
    except (ValueError, TypeError, OverflowError):
        asked = HELD
    return min(LONGEST, max(SHORTEST, asked))


def hold(issuer: CertificateIssuer, why: str, wait: timedelta) -> None:
    """Order nothing more of this issuer until then; a longer hold stays."""
    until = timezone.now() + wait
    if issuer.held_until is None or issuer.held_until < until:
        issuer.held_until, issuer.held_why = until, storable(why)[:300]
        with doing(f"{issuer} limits its orders"):
            issuer.save(update_fields=["held_until", "held_why", "updated_at"])


@contextmanager
def explained(issuer: CertificateIssuer) -> Iterator[list[requests.Response]]:
    """Turn what a directory says into an IssuerFault. The list takes the last response, for its headers."""
    came: list[requests.Response] = []
    try:
        yield came
    except messages.Error as error:
        raise _refused(issuer, error, came[-1] if came else None) from error
    except requests.exceptions.SSLError as error:
        raise IssuerFault(
            f"{issuer}: the directory's own certificate is not trusted; enter its root with the issuer.",
            retryable=False,
        ) from error
    except requests.RequestException as error:
        raise IssuerFault(
            f"{issuer} cannot be reached ({type(error).__name__}); is the directory's address right, and is it up?"
        ) from error
    except Unreadable as error:
        raise IssuerFault(f"{issuer}: its key cannot be read. {error}", retryable=False) from error
    except (errors.Error, JoseError, KeyError, ValueError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise IssuerFault(f"{issuer} answered what ACME does not allow: {said}") from error


def _refused(issuer: CertificateIssuer, error: messages.Error, last: requests.Response | None) -> IssuerFault:
    code, said = error.code or "", told(error)
    status = last.status_code if last is not None else 0
    if code == "rateLimited" or status == 429:
        wait = wait_of(last.headers.get("Retry-After", "") if last is not None else "", timezone.now())
        hold(issuer, said, wait)
        return IssuerFault(
            f"{issuer} limits its orders: {said} Nothing is ordered there before "
            f"{timezone.now() + wait:%Y-%m-%d %H:%M} UTC.",
            retryable=False,
        )
    if code in PASSING or status >= 500:
        return IssuerFault(f"{issuer} is out of order: {said}")
    return IssuerFault(f"{issuer} refused: {said}", retryable=False)


def told(error: messages.Error | None) -> str:
    """A problem document in words, its parts too."""
    if error is None:
        return "it did not say why."
    parts = [error.detail or error.description or error.typ]
    parts += [
        f"{sub.identifier.value if sub.identifier else 'part'}: {sub.detail}"
        for sub in error.subproblems or ()
    ]
    return storable(" ".join(" ".join(parts).split()))[:400].rstrip(".") + "."
