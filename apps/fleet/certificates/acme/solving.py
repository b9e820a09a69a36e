"""How a name is proved to be ours. One solver for each kind of challenge; others may be registered."""

from __future__ import annotations

from typing import Protocol

from acme import challenges, messages
from django.db import transaction

from ...models import AcmeChallenge, AcmeOrder
from .network import Session


class Solver(Protocol):
    """Makes a challenge's answer be there for the directory to find."""

    kind: type[challenges.KeyAuthorizationChallenge]

    def prepare(
        self, order: AcmeOrder, name: str, challenge: messages.ChallengeBody, session: Session
    ) -> None:
        """Have the answer in place when it returns; again has no effect."""

    def tidy(self, order: AcmeOrder) -> None:
        """Take away what was prepared for an order; nothing there: no effect."""


class ByPortal:
    """http-01: the portal answers under /.well-known/acme-challenge/, to which the names' port 80 leads."""

    kind = challenges.HTTP01

    def prepare(
        self, order: AcmeOrder, name: str, challenge: messages.ChallengeBody, session: Session
    ) -> None:
        """Write the answer down where the portal's web finds it."""
        chall = challenge.chall
        with transaction.atomic():
            AcmeChallenge.objects.update_or_create(
                token=chall.encode("token"),
                defaults={"order": order, "name": name[:253], "answer": chall.validation(session.key)},
            )

    def tidy(self, order: AcmeOrder) -> None:
        """Forget the answers."""
        AcmeChallenge.objects.filter(order=order).delete()


_solvers: list[Solver] = [ByPortal()]


def register(solver: Solver) -> None:
    """Have a further kind of challenge answered; the latest registered is preferred."""
    _solvers.insert(0, solver)


def unregister(solver: Solver) -> None:
    """Take a solver away (tests)."""
    _solvers.remove(solver)


def solvers() -> list[Solver]:
    """Those there are, the preferred first."""
    return list(_solvers)
