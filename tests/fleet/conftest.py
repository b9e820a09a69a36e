"""A world of two accounts, so that each test has somebody who may, somebody elsewhere, and somebody who only looks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.tenants.models import Tenant
from tests.factories import grant, make_account, make_cell, make_instance, make_tenant, make_user, place
from tests.fleet.local import Local, local_fleet


@dataclass
class World:
    """`one` is an instance in `cell`, served tenant `tenant`; `elsewhere` lies in another account."""

    cell: Cell
    one: Instance
    tenant: Tenant
    elsewhere: Instance
    operator: User
    viewer: User
    stranger: User
    nobody: User


@pytest.fixture
def world(db: None) -> World:
    cell = make_cell("eu-west-1a", account=make_account("acme"))
    one = make_instance("northwind-prod", cell=cell)
    tenant = make_tenant("northwind", name="Northwind")
    place(tenant, one)
    elsewhere = make_instance("globex-prod", cell=make_cell("us-east-2a", account=make_account("other")))
    world = World(
        cell, one, tenant, elsewhere, *(make_user(name) for name in ("olga", "vera", "stefan", "nadia"))
    )
    grant(world.operator, "operator", "account", cell.region.account)
    grant(world.viewer, "viewer", "account", cell.region.account)
    grant(world.stranger, "operator", "account", elsewhere.cell.region.account)
    return world


@pytest.fixture
def local(transactional_db: None, tmp_path: Path) -> Iterator[Local]:
    """A local fleet with real processes."""
    with local_fleet(tmp_path) as made:
        yield made


@pytest.fixture
def as_user(client: Client) -> Callable[[User], Client]:
    """A client signed in as somebody."""

    def sign_in(user: User) -> Client:
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def queries() -> Callable[[Callable[[], object]], int]:
    """How many queries a call makes, the process's caches warm."""

    def count(call: Callable[[], object]) -> int:
        call()
        ContentType.objects.get_for_model(Instance)
        with CaptureQueriesContext(connection) as captured:
            call()
        return len(captured)

    return count
