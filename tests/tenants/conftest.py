"""The tenants' small world: two accounts, a cell in each, three tenants of which one is in both."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from apps.core import palette
from apps.tenants.models import Contact, Domain, ExternalId
from tests import factories as make


@pytest.fixture
def world(db: None) -> SimpleNamespace:
    """northwind on eu, globex on us, initech on both (shared); with contacts, domains, ids."""
    eu, us = make.make_account("acme-eu"), make.make_account("acme-us")
    cell_eu, cell_us = make.make_cell("eu-a", account=eu), make.make_cell("us-a", account=us)
    w = SimpleNamespace(eu=eu, us=us, cell_eu=cell_eu, cell_us=cell_us)
    w.plan = make.make_plan("Enterprise", monthly_price="4900.00", currency="EUR")
    w.northwind = make.make_tenant("northwind", name="Northwind Traders", plan=w.plan)
    w.globex = make.make_tenant("globex", name="Globex", plan=make.make_plan("Scale", currency="USD"))
    w.initech = make.make_tenant("initech", name="Initech")
    w.northwind_1 = make.make_instance("northwind-prod", cell=cell_eu)
    w.globex_1 = make.make_instance(
        "globex-prod", cell=cell_us, health="failing", health_detail="answers 503"
    )
    w.shared_eu = make.make_instance("shared-eu-1", cell=cell_eu, kind="shared")
    w.shared_us = make.make_instance("shared-us-1", cell=cell_us, kind="shared")
    for tenant, instance in (
        (w.northwind, w.northwind_1),
        (w.globex, w.globex_1),
        (w.initech, w.shared_eu),
        (w.initech, w.shared_us),
    ):
        make.place(tenant, instance)
    with make.as_system():
        Domain.objects.create(tenant=w.northwind, name="shop.northwind.example", is_primary=True)
        Domain.objects.create(tenant=w.globex, name="globex.example", is_primary=True)
        Domain.objects.create(tenant=w.initech, name="acme.com", is_primary=True)
        Contact.objects.create(tenant=w.northwind, name="Ada Lovelace", email="ada@northwind.example")
        Contact.objects.create(
            tenant=w.globex, name="Hank Scorpio", email="hank@globex.example", role="billing"
        )
        ExternalId.objects.create(tenant=w.northwind, system="stripe", value="cus_9s6XKzkNRiz8i3")
    w.everything = make.make_user("sees-all")
    make.grant(w.everything, "viewer")
    w.of_eu = make.make_user("eu-operator")
    make.grant(w.of_eu, "operator", "account", eu)
    w.of_northwind = make.make_user("northwind-support")
    make.grant(w.of_northwind, "support", "tenant", w.northwind)
    w.nobody = make.make_user("nobody")
    w.admin = make.make_user("admin")
    make.grant(w.admin, "admin")
    return w


@pytest.fixture
def only_tenants_in_palette(monkeypatch: pytest.MonkeyPatch) -> None:
    """⌘K with the tenants' source alone."""
    monkeypatch.setattr(palette, "_sources", {"tenants": palette._sources["tenants"]})
