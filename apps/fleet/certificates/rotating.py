"""Rotation as an operation: a new certificate is presented, verified by a handshake, and taken back if it is not served.

The private key goes from the authority to the provider and nowhere else: no step notes it.
"""

from collections.abc import Callable
from typing import Any

from apps.access.choices import Permission
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import Done, Failed, Kind, Later, Outcome, Step, Work

from ..choices import ProviderName
from ..models import Cell
from ..providers.base import ProviderError, ServedCertificate, Target
from ..stepping import each_provided, no_params
from . import issuing, judging, looking

NAME = "rotate_certificate"
#: Seconds between two handshakes, and until one that does not show the new certificate is a failure.
LOOK, PATIENCE = 0.3, 8.0


def _note(work: Work, provider: Any, target: Target) -> Outcome:
    served: ServedCertificate = provider.served_certificate(target)
    words = f"served until {served.not_after:%Y-%m-%d}, {served.key}, by {served.issuer}"
    return Done(words, {"before": served.fingerprint})


def _present(work: Work, provider: Any, target: Target) -> Outcome:
    served: ServedCertificate = provider.served_certificate(target)
    if served.fingerprint != work.notes["before"]:
        return Done("the new one is served already", {"after": served.fingerprint})
    chain, key = issuing.issue(_names(provider, target, served))
    provider.present_certificate(target, chain_pem=chain, key_pem=key)
    return Done("issued by the internal authority, and presented", {"after": issuing.fingerprint_of(chain)})


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
        return Done(f"a handshake shows it: until {served.not_after:%Y-%m-%d}, {served.key}")

    return act


def _not_yet(work: Work, why: str) -> Outcome:
    if (work.now() - work.step_started_at).total_seconds() > PATIENCE:
        return Failed(f"It is not served after {PATIENCE:g} s: {why}.", retryable=False)
    return Later(LOOK, why)


def _restore(work: Work, provider: Any, target: Target) -> Outcome:
    provider.restore_certificate(target, fingerprint=work.notes["before"])
    return Done("the certificate from before is presented again")


ROTATE = Kind(
    name=NAME,
    label="Rotate certificate",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(
        Step("look", each_provided(_note), timeout=30),
        Step("issue and present", each_provided(_present), timeout=60),
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
    """A guard rail: what is simulated serves no certificate."""
    if request.kind.name != NAME:
        return {}
    cells = [t.cell_id for t in request.targets if t.cell_id]
    simulated = set(
        Cell.objects.filter(pk__in=cells, provider=ProviderName.SIMULATED).values_list("pk", flat=True)
    )
    return {
        t.id: Objection(f"{t.label} is simulated: it serves no certificate")
        for t in request.targets
        if t.cell_id in simulated
    }
