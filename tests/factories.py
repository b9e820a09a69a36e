"""A small world for tests: each function makes one committed thing, as the named system actor `command`.

Whatever is not given gets a value of its own, so that two calls never clash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import count
from typing import Any

from apps.access.choices import SEEDED_ROLES, ScopeKind
from apps.access.models import Grant, Role, User
from apps.access.services import give_grant, scope_for, seed_roles, system_actor
from apps.accounts.models import Account, Region
from apps.core.context import acting
from apps.fleet.models import Cell, Instance, Placement, SimulatedInstance
from apps.tenants.models import Plan, Subscription, Tenant

VERSION = "1.0.0"
PASSWORD = "correct-horse-battery"
REASON = "test world"

_numbers = count(1)


@contextmanager
def as_system(reason: str = REASON) -> Iterator[None]:
    """Act as the system, for what a test arranges by hand."""
    with acting(system_actor("command"), reason=reason, via="command"):
        yield


def make_user(username: str = "", *, superuser: bool = False, password: str = "", **fields: Any) -> User:
    """A person; without `password` one who cannot sign in by it (tests use `client.force_login`)."""
    user = User(username=username or f"made-person-{next(_numbers)}", is_superuser=superuser, **fields)
    user.email = user.email or f"{user.username}@example.com"
    if password:
        user.set_password(password)
    else:
        user.set_unusable_password()
    with as_system():
        user.save()
    return user


def make_role(name: str, permissions: list[str] | None = None) -> Role:
    """A seeded role by its name, or a role of one's own with the permissions given."""
    with as_system():
        if permissions is None and name in SEEDED_ROLES:
            seed_roles()
            return Role.objects.get(name=name)
        return Role.objects.get_or_create(name=name, defaults={"permissions": permissions or []})[0]


def grant(
    user: User,
    role_name: str = "viewer",
    scope_kind: str = ScopeKind.EVERYTHING,
    obj: Any = None,
    *,
    until: datetime | None = None,
) -> Grant:
    """Give a role; forgets what the user object kept of earlier scopes."""
    role = make_role(role_name)
    with as_system():
        given = give_grant(
            to=user,
            role=role,
            scope=scope_for(scope_kind, obj),
            actor=system_actor("command"),
            reason=REASON,
            until=until,
        )
    user.__dict__.pop("_scopes", None)
    return given


def make_account(name: str = "", **fields: Any) -> Account:
    """A cloud account."""
    with as_system():
        return Account.objects.create(
            name=name or f"made-account-{next(_numbers)}", **{"cloud": "simulated", **fields}
        )


def make_cell(
    name: str = "", *, account: Account | None = None, provider: str = "simulated", **fields: Any
) -> Cell:
    """A cell in a region of `account`, or of an account of its own."""
    account = account or make_account()
    number = next(_numbers)
    with as_system():
        region = Region.objects.create(account=account, code=f"region-{number}")
        return Cell.objects.create(
            region=region, name=name or f"made-cell-{number}", provider=provider, **fields
        )


def make_instance(
    name: str = "",
    *,
    cell: Cell | None = None,
    kind: str = "dedicated",
    version: str = VERSION,
    **fields: Any,
) -> Instance:
    """An instance, well and running; in a simulated cell the provider's row says the same."""
    cell = cell or make_cell()
    seen = {"health": "well", "version": version, "generation": 1, "wanted_version": version, **fields}
    with as_system():
        instance = Instance.objects.create(
            name=name or f"made-instance-{next(_numbers)}", cell=cell, kind=kind, **seen
        )
    if cell.provider == "simulated":
        SimulatedInstance.objects.create(instance=instance, version=version)
    return instance


def make_plan(name: str = "Basic", **fields: Any) -> Plan:
    """The plan of this name, made on first use."""
    with as_system():
        return Plan.objects.get_or_create(name=name, defaults={"monthly_price": 100, **fields})[0]


def make_tenant(key: str = "", *, name: str = "", plan: Plan | None = None, **fields: Any) -> Tenant:
    """A tenant with an open subscription to `plan`."""
    key = key or f"made-tenant-{next(_numbers)}"
    plan = plan or make_plan()
    with as_system():
        tenant = Tenant.objects.create(key=key, name=name or key.replace("-", " ").title(), **fields)
        Subscription.objects.create(
            tenant=tenant,
            plan=plan,
            monthly_price=plan.monthly_price,
            currency=plan.currency,
            starts_on=date(2026, 1, 1),
        )
    return tenant


def place(tenant: Tenant, instance: Instance) -> Placement:
    """Put a tenant on an instance; one that is dedicated to another becomes shared."""
    with as_system():
        if instance.kind == "dedicated" and instance.placements.exclude(tenant=tenant).exists():
            instance.kind = "shared"
            instance.save(update_fields=["kind"])
        return Placement.objects.create(tenant=tenant, instance=instance)
