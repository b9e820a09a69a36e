"""Pages at 1,000 and at 100,000 instances, for a person with scopes: time, queries, share of template and statements."""

import gc
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.template import Context, Template
from django.test import Client
from django.test.signals import template_rendered
from django.test.utils import CaptureQueriesContext, setup_test_environment, teardown_test_environment
from django.urls import reverse

from apps.access.choices import ScopeKind
from apps.access.models import Role, User
from apps.access.services import give_grant, scope_for, seed_roles, system_actor
from apps.accounts.models import Account
from apps.core.context import acting
from apps.tenants.models import Tenant

from ..models import Instance
from ..seeding import seed, seeded
from .figures import Figure, median_ms

SMALL, LARGE = 1_000, 100_000


def pages() -> Iterator[Figure]:
    """Each page small and large: the ratio of its times, its queries, its time against its template's alone."""
    actor = system_actor("command")
    if seeded() < SMALL:
        seed(instances=SMALL, tenants=SMALL // 5, actor=actor)
    client = _client(actor)
    small = {name: _time(client, url) for name, url in _urls().items()}
    if (rest := LARGE - seeded()) > 0:
        seed(instances=rest, tenants=rest // 5, actor=actor)
    client = _client(actor)
    for name, url in _urls().items():
        large = _time(client, url)
        yield Figure(f"{name}, {LARGE:,} instances", large, "ms")
        yield Figure(f"{name}, {LARGE:,} against {SMALL:,}", large / small[name], "times", at_most=4)
        statements = _statements(client, url)
        yield Figure(f"{name}, queries", len(statements), "queries", at_most=15)
        template, bare = _template_alone(client, url), _bare(statements)
        yield Figure(f"{name}, against its template alone", large / template, "times", at_most=3)
        yield Figure(
            f"{name}, against its template and its statements", large / (template + bare), "times", at_most=3
        )


def _client(actor: User) -> Client:
    """A signed-in operator of every account: scoped, and no superuser."""
    with acting(actor, reason="bench", via="command"):
        seed_roles()
        user, _ = User.objects.get_or_create(username="bench", defaults={"email": "bench@daytwo.example"})
        role = Role.objects.get(name="operator")
        for account in Account.objects.all():
            give_grant(
                to=user, role=role, scope=scope_for(ScopeKind.ACCOUNT, account), actor=actor, reason="bench"
            )
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _urls() -> dict[str, str]:
    tenant = Tenant.objects.filter(key="sim-7").get()
    instance = Instance.objects.filter(name="sim-i-7").get()
    return {
        "fleet overview": reverse("fleet:overview"),
        "instance list": reverse("fleet:instances") + "?health=well&sort=-name",
        "instance page": reverse("fleet:instance", args=[instance.pk]),
        "tenant page": reverse("tenants:tenant", args=[tenant.pk]),
        "lookup": reverse("tenants:lookup")
        + "?q="
        + tenant.name.split()[0].lower()[:-1]
        + "x "
        + tenant.name.split()[1],
    }


def _time(client: Client, url: str) -> float:
    gc.collect()
    gc.freeze()
    return median_ms(lambda: _get(client, url))


def _get(client: Client, url: str) -> Any:
    response = client.get(url, headers={"Host": "localhost"})
    if response.status_code != 200:
        raise RuntimeError(f"{url} answered {response.status_code}")
    return response


def _statements(client: Client, url: str) -> list[str]:
    """What a page asks the database, as it was sent."""
    with CaptureQueriesContext(connection) as captured:
        _get(client, url)
        sent = [query["sql"] for query in captured.captured_queries]
    # What was read by a cursor of the server is asked for at once.
    return [
        sql.partition(" CURSOR ")[2].partition("FOR ")[2] if sql.startswith("DECLARE") else sql
        for sql in sent
    ]


def _bare(statements: list[str]) -> float:
    """Milliseconds to send the statements as they are and fetch what they give, one after the other: no ORM, no page."""
    with transaction.atomic(), connection.cursor() as cursor:
        raw = cursor.cursor

        def send() -> None:
            for statement in statements:
                raw.execute(statement)
                if raw.description:
                    raw.fetchall()

        return median_ms(send)


def _template_alone(client: Client, url: str) -> float:
    """Milliseconds to render the page's template again from the rows that are in memory by then.

    Only here are templates instrumented to tell of themselves: under that, each of a page's parts copies its
    context, which nobody waits for outside of tests.
    """
    seen: list[tuple[Template, Context]] = []

    def note(template: Template, context: Context, **more: object) -> None:
        if not seen:
            seen.append((template, context))

    setup_test_environment()
    template_rendered.connect(note, weak=False)
    try:
        _get(client, url)
    finally:
        template_rendered.disconnect(note)
        teardown_test_environment()
    template, context = seen[0]
    return median_ms(lambda: template.render(context))
