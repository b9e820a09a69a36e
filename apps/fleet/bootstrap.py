"""The first run: roles, people, and a small fleet of real processes to operate.

Everything here is safe to repeat: what exists is left as people made it.
"""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.access.choices import ScopeKind
from apps.access.models import Role, User
from apps.access.services import give_grant, scope_for, seed_roles, system_actor
from apps.accounts.choices import Cloud, Owner
from apps.accounts.models import Account, Region
from apps.core import first_run
from apps.core.context import acting
from apps.core.events import event, record
from apps.core.models import Event
from apps.tenants.choices import ContactRole
from apps.tenants.models import Contact, Domain, ExternalId, Plan, Subscription, Tenant

from . import providers
from .choices import InstanceKind, ProviderName
from .models import Cell, Instance, Placement, SimulatedInstance
from .providers.base import ProviderError
from .providers.local.provider import LocalProvider
from .targets import provider_targets

VERSION = "4.12.3"
#: version, fault, notes: what the local fleet can be told to run.
VERSIONS: tuple[tuple[str, str | None, str], ...] = (
    ("4.12.2", None, "the one before"),
    ("4.12.3", None, "what the fleet runs"),
    ("4.12.4", "unhealthy", "faulty on purpose: never becomes healthy"),
    ("4.12.5", "crash", "faulty on purpose: ends as it starts"),
    ("4.12.6", None, "the next one"),
)
PLANS = (
    ("Starter", 1, Decimal(49), False),
    ("Team", 2, Decimal(290), False),
    ("Scale", 3, Decimal(1900), True),
    ("Enterprise", 4, Decimal(6200), True),
)
#: account, cloud, owner, region, jurisdiction, {cell: provider}
ACCOUNTS: tuple[tuple[str, str, str, str, str, dict[str, str]], ...] = (
    (
        "nimbus-eu",
        Cloud.LOCAL,
        Owner.PROVIDER,
        "eu-west-1",
        "EU",
        {"eu-west-1a": "local", "eu-west-1b": "local"},
    ),
    ("northwind-byoc", Cloud.LOCAL, Owner.CUSTOMER, "eu-central-1", "EU", {"northwind-1": "local"}),
    (
        "nimbus-us",
        Cloud.SIMULATED,
        Owner.PROVIDER,
        "us-east-2",
        "US",
        {"us-east-2a": "simulated", "us-east-2b": "simulated"},
    ),
)
#: instance, cell, tenants (more than one: shared), plan
LOCAL_FLEET: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "shared-eu-1",
        "eu-west-1a",
        ("Aperture Labs", "Bluth Company", "Cyberdyne", "Dunder Mifflin", "Soylent"),
        "Team",
    ),
    (
        "shared-eu-2",
        "eu-west-1b",
        ("Gekko & Co", "Hudsucker", "Massive Dynamic", "Oceanic", "Prestige Worldwide"),
        "Starter",
    ),
    ("globex-prod", "eu-west-1a", ("Globex",), "Scale"),
    ("initech-prod", "eu-west-1b", ("Initech",), "Scale"),
    ("umbrella-prod", "eu-west-1b", ("Umbrella",), "Enterprise"),
    ("northwind-prod", "northwind-1", ("Northwind Traders",), "Enterprise"),
)
SIMULATED_TENANTS = (
    "Acme Stark Wayne Wonka Tyrell Weyland Vandelay Pied-Piper Hooli Sterling Duff Kwik-E Monsters Nakatomi "
    "Omni Paper-Street Rekall Sirius Spacely Virtucon Buy-n-Large Ollivander Gringotts Zorin Yoyodyne Cogswell"
).split()
PEOPLE: tuple[tuple[str, str, str, str, str | None], ...] = (
    ("admin", "Ada Admin", "admin", ScopeKind.EVERYTHING, None),
    ("axel", "Axel Approver", "admin", ScopeKind.EVERYTHING, None),
    ("olga", "Olga Operator", "operator", ScopeKind.ACCOUNT, "nimbus-eu"),
    ("sam", "Sam Support", "support", ScopeKind.EVERYTHING, None),
    ("vera", "Vera Viewer", "viewer", ScopeKind.EVERYTHING, None),
)


#: The kind of the event that remembers a step of the first run, before its name.
LAID_OUT = "portal.laid_out."


def bootstrap(*, with_fleet: bool = True) -> None:
    """Make what a new portal needs, and have the local fleet's processes run as they are wanted.

    Raises ProviderError when the local fleet cannot be prepared (its message says why).
    """
    actor = system_actor("command")
    with acting(actor, reason="first run", via="command"), transaction.atomic(durable=True):
        seed_roles()
        if with_fleet and not Account.objects.exists():
            _make_fleet()
            record([event("portal.started", "Daytwo was set up with its first fleet", actor=actor)])
        _make_people(actor)
    if with_fleet:
        _lay_out_examples()
        run_local_fleet()


def _lay_out_examples() -> None:
    """What the apps above lay out for a newcomer, each once ever: what people removed does not come back."""
    admin = User.objects.filter(username="admin", is_active=True).first()
    done = set(Event.objects.filter(kind__startswith=LAID_OUT).values_list("kind", flat=True))
    for name, lay_out in first_run.steps().items():
        if admin is None or LAID_OUT + name in done:
            continue
        with acting(admin, reason="first run", via="command"):
            lay_out(admin)
            record([event(LAID_OUT + name, f"The first run laid out {name}")])


def run_local_fleet() -> None:
    """Install the versions that lack, start instances that were never started, resume those that `make down` parked."""
    provider = providers.get(ProviderName.LOCAL)
    assert isinstance(provider, LocalProvider)  # noqa: S101 - the registry says so
    provider.prepare()
    known = set(provider.versions())
    for version, fault, notes in VERSIONS:
        if version not in known:
            provider.install_version(version, fault=fault, notes=notes)
    provider.resume_all()
    ids = list(Instance.objects.filter(cell__provider=ProviderName.LOCAL).values_list("pk", flat=True))
    targets = list(provider_targets(ids).get(ProviderName.LOCAL, {}).values())
    seen = provider.observe_many(targets)
    for target in targets:
        # Never started, not merely down: one that fell over is for the operator to see.
        if seen[target.instance_id].state == "missing":
            try:
                provider.apply(target, version=target.version)
            except ProviderError as error:
                raise ProviderError(f"{target.name} could not be started: {error}") from error


def _make_people(actor: User) -> None:
    for username, name, role, kind, scope_name in PEOPLE:
        if User.objects.filter(username=username).exists():
            continue
        account = Account.objects.filter(name=scope_name).first() if scope_name else None
        if scope_name and account is None:
            continue
        first, last = name.split()
        user = User(username=username, email=f"{username}@daytwo.example", first_name=first, last_name=last)
        user.set_unusable_password()
        user.save()
        give_grant(
            to=user,
            role=Role.objects.get(name=role),
            scope=scope_for(kind, account),
            actor=actor,
            reason="first run: example people",
        )


def _make_fleet() -> None:
    plans = {
        name: Plan.objects.create(name=name, rank=rank, monthly_price=price, is_dedicated=dedicated)
        for name, rank, price, dedicated in PLANS
    }
    cells: dict[str, Cell] = {}
    for name, cloud, owner, code, law, of_region in ACCOUNTS:
        account = Account.objects.create(name=name, cloud=cloud, owner=owner, contact=f"cloud@{name}.example")
        region = Region.objects.create(account=account, code=code, jurisdiction=law)
        for cell, provider in of_region.items():
            cells[cell] = Cell.objects.create(region=region, name=cell, provider=provider, capacity=60)
    for name, cell, tenants, plan in LOCAL_FLEET:
        instance = _make_instance(name, cells[cell], shared=len(tenants) > 1)
        for tenant in tenants:
            Placement.objects.create(tenant=_make_tenant(tenant, plans[plan]), instance=instance)
    _make_simulated(cells, plans)


def _make_simulated(cells: dict[str, Cell], plans: dict[str, Plan]) -> None:
    for number, name in enumerate(SIMULATED_TENANTS):
        cell = cells["us-east-2a" if number % 3 else "us-east-2b"]
        plan = plans["Scale" if number % 4 else "Enterprise"]
        key = name.lower()
        instance = _make_instance(f"{key}-prod", cell, shared=False)
        SimulatedInstance.objects.create(instance=instance, version=VERSION)
        Placement.objects.create(tenant=_make_tenant(name.replace("-", " "), plan), instance=instance)


def _make_instance(name: str, cell: Cell, *, shared: bool) -> Instance:
    kind = InstanceKind.SHARED if shared else InstanceKind.DEDICATED
    return Instance.objects.create(name=name, cell=cell, kind=kind, wanted_version=VERSION)


def _make_tenant(name: str, plan: Plan) -> Tenant:
    key = "".join(c if c.isalnum() else "-" for c in name.lower()).replace("---", "-").strip("-")
    tenant = Tenant.objects.create(key=key, name=name)
    values: dict[str, Any] = {"tenant": tenant}
    Subscription.objects.create(
        **values,
        plan=plan,
        monthly_price=plan.monthly_price,
        seats=10 * plan.rank,
        starts_on=date(2025, 3, 1),
    )
    Domain.objects.create(**values, name=f"{key}.example", is_primary=True)
    Contact.objects.create(
        **values, name=f"{name} operations", email=f"ops@{key}.example", role=ContactRole.TECHNICAL
    )
    ExternalId.objects.create(**values, system="crm", value=f"CRM-{1000 + tenant.pk}")
    return tenant
