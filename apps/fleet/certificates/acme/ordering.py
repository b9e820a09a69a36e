"""One order, moved as far as it goes without waiting. All that is known of it stands in its row and at the directory.

A worker may be killed anywhere. The key is written down before the order is sent; what the directory has got is asked
for again rather than remembered; an order that was sent and not noted is left to run out there, and made anew.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acme import crypto_util, messages
from cryptography import x509
from django.db import transaction
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.events import event, record

from ...choices import ORDER_TRANSITIONS, OrderState
from ...models import AcmeOrder, CertificateIssuer
from .. import issuing
from .doing import doing
from .faults import IssuerFault, told
from .network import Session, session
from .secrets import new_key, unseal
from .solving import solvers
from .trusting import root_of


@dataclass(frozen=True, slots=True)
class Issued:
    """A chain, its key, and the root that it ends in, as PEM."""

    chain: bytes
    key: bytes
    root: bytes


def order_of(
    *, operation_id: int, issuer: CertificateIssuer, instance_id: int, names: Sequence[str]
) -> AcmeOrder:
    """The order of an operation; made, with a new key, where there is none yet."""
    with transaction.atomic(), doing(f"orders a certificate of {issuer}", operation_id=operation_id):
        made, is_new = AcmeOrder.objects.get_or_create(
            operation_id=operation_id,
            defaults={
                "issuer": issuer, "instance_id": instance_id, "names": list(names), "key_sealed": new_key(),
            },
        )  # fmt: skip
        if is_new:
            _tell(made, "ordered", f"A certificate for {made.instance} is ordered of {issuer}", Tone.BUSY)
    return made


def advance(order: AcmeOrder) -> Issued | None:
    """Move the order on; what was issued, or None while the directory works. Raises IssuerFault; then it is over."""
    if order.state == OrderState.FAILED:
        raise IssuerFault(order.error, retryable=False)
    try:
        with session(order.issuer) as at:
            return _advance(order, at)
    except IssuerFault as fault:
        if not fault.retryable:
            give_up(order, str(fault))
        raise


def _advance(order: AcmeOrder, at: Session) -> Issued | None:
    if not order.url:
        sent = at.acme.new_order(_request(order))
        _move(order, OrderState.PENDING, url=sent.uri)
    body = messages.Order.from_json(at.post(order.url).json())
    if body.status == messages.STATUS_PENDING:
        for url in body.authorizations:
            _prove(order, at, url)
        return None
    if body.status == messages.STATUS_READY:
        csr = x509.load_pem_x509_csr(_request(order))
        at.post(body.finalize, messages.CertificateRequest(csr=csr))
    if body.status in (messages.STATUS_READY, messages.STATUS_PROCESSING, messages.STATUS_VALID):
        if order.state == OrderState.PENDING:
            _move(order, OrderState.PROCESSING)
        is_there = body.status == messages.STATUS_VALID and body.certificate
        return _fetch(order, at, body.certificate) if is_there else None
    raise IssuerFault(f"{order.issuer} did not issue it: {_why(at, body)}", retryable=False)


def _prove(order: AcmeOrder, at: Session, url: str) -> None:
    """Answer one name's challenge; one that was answered is left to the directory."""
    body = messages.Authorization.from_json(at.post(url).json())
    if body.status == messages.STATUS_VALID:
        return
    name = body.identifier.value
    if body.status != messages.STATUS_PENDING:
        raise IssuerFault(
            f"{order.issuer} does not believe that {name} is ours: {_said(body)}", retryable=False
        )
    for solver in solvers():
        for challenge in body.challenges:
            if isinstance(challenge.chall, solver.kind):
                if challenge.status == messages.STATUS_PENDING:
                    solver.prepare(order, name, challenge, at)
                    at.acme.answer_challenge(challenge, challenge.chall.response(at.key))
                return
    offered = ", ".join(sorted(str(c.chall.typ) for c in body.challenges))
    raise IssuerFault(
        f"{order.issuer} offers {offered or 'nothing'} to prove {name}; none of it can be answered here.",
        retryable=False,
    )


def _fetch(order: AcmeOrder, at: Session, url: str) -> Issued:
    chain = at.post(url).text.encode()
    found = Issued(chain, unseal(order.key_sealed).encode(), root_of(order.issuer, chain))
    if order.state != OrderState.ISSUED:
        _move(order, OrderState.ISSUED, fingerprint=issuing.fingerprint_of(chain), finished_at=timezone.now())
        _tell(order, "issued", f"{order.issuer} issued a certificate for {order.instance}", Tone.OK)
    _tidy(order)
    return found


def is_served(order: AcmeOrder) -> None:
    """Forget the key: whoever serves the certificate has it."""
    if order.key_sealed:
        with doing("its certificate is served", operation_id=order.operation_id):
            order.key_sealed = ""
            order.save(update_fields=["key_sealed", "updated_at"])


def give_up(order: AcmeOrder, why: str) -> None:
    """The order is over and came to nothing; its key is forgotten."""
    _tidy(order)
    if order.state in (OrderState.ISSUED, OrderState.FAILED):
        return
    _move(order, OrderState.FAILED, error=why[:500], key_sealed="", finished_at=timezone.now())
    _tell(order, "failed", f"{order.issuer} issued nothing for {order.instance}", Tone.BAD, why)


def _tidy(order: AcmeOrder) -> None:
    for solver in solvers():
        solver.tidy(order)


def _request(order: AcmeOrder) -> bytes:
    """The signing request, as PEM: the same for the order and its end."""
    addresses, domains = [], []
    for name in order.names:
        try:
            addresses.append(ipaddress.ip_address(name))
        except ValueError:
            domains.append(name)
    return crypto_util.make_csr(unseal(order.key_sealed).encode(), domains, ipaddrs=addresses)


def _why(at: Session, body: messages.Order) -> str:
    """What the directory says of an order that it gave up: of the names that it does not believe, else of the order."""
    for url in body.authorizations or ():
        found = messages.Authorization.from_json(at.post(url).json())
        if found.status not in (messages.STATUS_VALID, messages.STATUS_PENDING):
            return f"{found.identifier.value}: {_said(found)}"
    return told(body.error)


def _said(body: messages.Authorization) -> str:
    return told(next((c.error for c in body.challenges if c.error is not None), None))


def _move(order: AcmeOrder, state: str, **fields: Any) -> None:
    """Change its state, if it may go there from where it is."""
    words = f"order at {order.issuer}: {OrderState(state).label.lower()}"
    with transaction.atomic(), doing(words, operation_id=order.operation_id):
        if state not in ORDER_TRANSITIONS[order.state]:
            raise ValueError(f"An order that is {order.state} does not become {state}.")
        order.state = state
        for name, value in fields.items():
            setattr(order, name, value)
        order.save()


def _tell(order: AcmeOrder, what: str, title: str, tone: str, why: str = "") -> None:
    cell = order.instance.cell
    with doing(title):
        record(
            [
                event(
                    f"certificate.{what}", title[:300], why=why or ", ".join(order.names)[:300], tone=tone,
                    operation_id=order.operation_id, instance_id=order.instance_id, cell_id=cell.pk,
                    account_id=cell.region.account_id,
                )
            ]
        )  # fmt: skip
