"""What the money's page tests share: a reader of everything, two accounts with a tenant each."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.test import Client

from apps.access.models import User
from apps.cost.models import Rate
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines, tenants


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def tagged(amount: str, tenant: str, **more: str) -> list[dict[str, str]]:
    return lines(amount, Tags=json.dumps({"t": tenant}), **more)


@pytest.fixture
def reader() -> Client:
    """Finance, on everything."""
    user = factories.make_user("rita")
    factories.grant(user, "finance")
    return signed_in(user)


@pytest.fixture
def holder() -> Callable[[str, Any], Client]:
    """Finance, on one account, cell or tenant."""

    def made(kind: str, obj: Any) -> Client:
        user = factories.make_user(f"{kind}-{obj.pk}")
        factories.grant(user, "finance", kind, obj)
        return signed_in(user)

    return made


@pytest.fixture
def fleet() -> dict[str, Any]:
    """acme alone on an instance in `here`; globex and umbrella share one in `there`. A dollar is half a euro.

    Billed in dollars: acme 30 (EC2) and 7 (S3, in `there`), globex 500 (EC2), umbrella 20 (EC2), 3 shared by the three.
    """
    here = factories.make_account("here", cloud="aws", external_id="sub-1")
    there = factories.make_account("there", cloud="aws", external_id="sub-2")
    cells = factories.make_cell("cell-here", account=here), factories.make_cell("cell-there", account=there)
    acme, globex, umbrella = tenants("acme", "globex", "umbrella")
    own = factories.make_instance("acme-own", cell=cells[0])
    shared = factories.make_instance("pool-one", cell=cells[1], kind="shared")
    for tenant, instance in ((acme, own), (globex, shared), (umbrella, shared)):
        factories.place(tenant, instance)
    two = {"SubAccountId": "sub-2", "SubAccountName": "Sub two"}
    deliver(
        as_csv(
            [
                *tagged("30", "acme"), *tagged("7", "acme", ServiceName="S3", **two), *tagged("500", "globex", **two),
                *tagged("20", "umbrella", **two), *lines("3", ServiceName="Support", **two),
            ]
        )
    )  # fmt: skip
    add_rules({"kind": "tag", "tag": "t"}, {"kind": "evenly", "service": "Support"})
    with factories.as_system():
        Rate.objects.create(currency="USD", into="EUR", day=date(2026, 9, 1), rate="0.5")
    return {
        "here": here, "there": there, "acme": acme, "globex": globex, "umbrella": umbrella, "own": own, "shared": shared, "cells": cells,
    }  # fmt: skip
