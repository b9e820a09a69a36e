"""When scopes cover others, no row need be asked about: a mistake here would open a door."""

import pytest

from apps.access.choices import WHOLE_INSTANCE, Permission
from apps.access.scoping import Scopes

VIEW, RESTART = Permission.VIEW, Permission.RESTART


def scopes(permission: str = VIEW, **on: set[int] | bool) -> Scopes:
    return Scopes(permission, **{k: v if isinstance(v, bool) else frozenset(v) for k, v in on.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mine", "others", "covered"),
    [
        (scopes(everything=True), scopes(everything=True), True),
        (scopes(everything=True), scopes(tenants={1}), True),
        (scopes(accounts={1}), scopes(everything=True), False),
        (scopes(accounts={1, 2}), scopes(accounts={1}), True),
        (scopes(accounts={1}), scopes(accounts={1, 2}), False),
        (scopes(accounts={1}), scopes(cells={1}), False),
        (scopes(accounts={1}, cells={3}), scopes(accounts={1}, cells={3}), True),
        (scopes(tenants={1, 2}), scopes(tenants={2}), True),
        (scopes(), scopes(accounts={1}), False),
        (scopes(), scopes(), True),
    ],
)
def test_covers(mine: Scopes, others: Scopes, covered: bool) -> None:
    assert mine.covers(others) is covered


@pytest.mark.parametrize("permission", sorted(WHOLE_INSTANCE))
def test_a_tenant_of_a_shared_instance_is_not_the_instance(permission: str) -> None:
    """Who sees a tenant sees its shared instance; what touches the whole instance is asked of the row."""
    assert not scopes(permission, tenants={1}).covers(scopes(tenants={1}))
    assert scopes(permission, accounts={1}).covers(scopes(accounts={1}))
