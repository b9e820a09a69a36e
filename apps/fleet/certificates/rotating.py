"""Rotation as an operation: a new certificate is presented, verified by a handshake, and taken back if it is not served.

The private key goes from the authority to the provider: no step notes it. With an ACME issuer it is made here, and
waits, sealed, in the order's row until its certificate is served.
"""

from collections.abc import Callable
from typing import Any

from apps.access.choices import Permission
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import Done, Failed, Kind, Later, Outcome, Step, Work

from ..choices import ProviderName
from ..models import AcmeOrder, Cell, CertificateIssuer, Instance
from ..providers.base import ProviderError, ServedCertificate, Target
from ..stepping import each_provided, no_params
from . import issuers, issuing, judging, looking
from .acme import ordering

NAME = "rotate_certificate"
#: Seconds between two handshakes, and until one that does not show the new certificate is a failure.
LOOK, PATIENCE = 0.3, 8.0
#: Seconds between two looks at an order, and within which it has to be issued.
ASK, ORDERED = 1.0, 300.0


def _note(work: Work, provider: Any, target: Target) -> Outcome:
    """What is served, and who is to issue: whoever it is now, a change of that does not reach into the middle."""
    served: ServedCertificate = provider.served_certificate(target)
    issuer = issuers.issuer_of(Cell.objects.select_related("region").get(instances=work.target_id))
    words = f"served until {served.not_after:%Y-%m-%d}, {served.key}, by {served.issuer}"
    return Done(words, {"before": served.fingerprint, "issuer": issuer.pk if issuer else 0})


def _present(work: Work, provider: Any, target: Target) -> Outcome:
    served: ServedCertificate = provider.served_certificate(target)
    if served.fingerprint != work.notes["before"]:
        return Done("the new one is served already", {"after": served.fingerprint})
    # An operation that an older release began has no note of an issuer.
    issuer = CertificateIssuer.objects.filter(pk=work.notes.get("issuer", 0)).first()
    if issuer is not None:
        return _present_ordered(work, provider, target, issuer)
    chain, key = issuing.issue(_names(provider, target, served))
    provider.present_certificate(target, chain_pem=chain, key_pem=key)
    return Done("issued by the internal authority, and presented", {"after": issuing.fingerprint_of(chain)})


def _present_ordered(work: Work, provider: Any, target: Target, issuer: CertificateIssuer) -> Outcome:
    instance = Instance.objects.select_related("cell__region").get(pk=work.target_id)
    host = judging.host_of(provider.observe(target).endpoint)
    order = ordering.order_of(
        operation_id=work.id,
        issuer=issuer,
        instance_id=instance.pk,
        names=issuers.names_of(issuer, instance, host),
    )
    issued = ordering.advance(order)
    if issued is None:
        return Later(ASK, f"{issuer}: {order.get_state_display().lower()}")
    provider.present_certificate(target, chain_pem=issued.chain, key_pem=issued.key, root_pem=issued.root)
    return Done(f"issued by {issuer}, and presented", {"after": issuing.fingerprint_of(issued.chain)})


def _names(provider: Any, target: Target, served: ServedCertificate) -> list[str]:
    """The names of the new one: those served so far, the instance's own, and the host under which it is asked for."""
    host = judging.host_of(provider.observe(target).endpoint)
    return list(dict.fromkeys(name for name in (target.name, *served.names, host) if name))


def _serves(note: str) -> Callable[[Work, Any, Target], Outcome]:
    """Whether a handshake shows the certificate whose fingerprint stands in the notes."""

    def act(work: Work, provider: Any, target: Target) -> Outcome:
        try:
            served: ServedCertificate = provider.served_certificate(target)
        except ProviderError as error:
            return _not_yet(work, str(error))
        if served.fingerprint != work.notes[note]:
            return _not_yet(work, "a handshake still shows another certificate")
        looking.keep({target.instance_id: served})
        for order in AcmeOrder.objects.filter(operation_id=work.id):
            ordering.is_served(order)
        return Done(f"a handshake shows it: until {served.not_after:%Y-%m-%d}, {served.key}")

    return act


def _not_yet(work: Work, why: str) -> Outcome:
    if (work.now() - work.step_started_at).total_seconds() > PATIENCE:
        return Failed(f"It is not served after {PATIENCE:g} s: {why}.", retryable=False)
    return Later(LOOK, why)


def _restore(work: Work, provider: Any, target: Target) -> Outcome:
    for order in AcmeOrder.objects.filter(operation_id=work.id):
        ordering.give_up(order, work.failure)
        ordering.is_served(order)
    provider.restore_certificate(target, fingerprint=work.notes["before"])
    return Done("the certificate from before is presented again")


ROTATE = Kind(
    name=NAME,
    label="Rotate certificate",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(
        Step("look", each_provided(_note), timeout=30),
        Step("issue and present", each_provided(_present), timeout=ORDERED),
        Step("see it served", each_provided(_serves("after")), timeout=PATIENCE + 20),
    ),
    undo=(
        Step("present the old one", each_provided(_restore), timeout=60),
        Step("see the old one served", each_provided(_serves("before")), timeout=PATIENCE + 20),
    ),
    undo_from=1,
    check_params=no_params,
    preview=lambda label, params: (
        f"{label} serves a new certificate from the next handshake on, and the old one if that is not seen; nothing restarts"
    ),
)


def serves_something(request: Request) -> dict[int, Objection]:
    """A guard rail: what is simulated serves no certificate, and an issuer that limits its orders is not asked."""
    if request.kind.name != NAME:
        return {}
    cells = Cell.objects.filter(pk__in=[t.cell_id for t in request.targets if t.cell_id]).select_related(
        "region"
    )
    by_id = {cell.pk: cell for cell in cells}
    held = {} if request.starting else issuers.held_cells(by_id.values())
    found = {}
    for target in request.targets:
        cell = by_id.get(target.cell_id or 0)
        if cell is not None and cell.provider == ProviderName.SIMULATED:
            found[target.id] = Objection(f"{target.label} is simulated: it serves no certificate")
        elif cell is not None and (issuer := held.get(cell.pk)) and issuer.held_until:
            until = f"{issuer.held_until:%Y-%m-%d %H:%M} UTC"
            found[target.id] = Objection(f"{issuer} limits its orders until {until}: {issuer.held_why}")
    return found
