"""What an engineer looks at: a tenant's lines of a log, who uses a shared instance, what happened on its charts."""

from __future__ import annotations

import urllib.request

from django.test import Client
from django.utils import timezone

from apps.alerts.models import Alert, Incident
from apps.fleet.providers.base import Sample
from apps.fleet.queries.charts import chart_data
from apps.fleet.queries.neighbours import by_tenant
from tests.factories import as_system, grant, make_instance, make_tenant, make_user, place
from tests.fleet.local import Local


def test_a_tenants_or_a_requests_lines(local: Local) -> None:
    one = local.instance("one")
    place(make_tenant("acme"), one)
    with as_system():
        type(one).objects.filter(pk=one.pk).update(kind="shared")
    place(make_tenant("globex"), one)
    local.provider.place(local.target(one))
    context = local.provider.authority.client_context()
    for key, request in (("acme", "req-1"), ("acme", "req-2"), ("globex", "req-3")):
        asked = urllib.request.Request(f"{local.endpoint(one)}/t/{key}/", headers={"X-Request-ID": request})
        urllib.request.urlopen(asked, context=context, timeout=5).read()
    client = Client()
    client.force_login(local.operator, backend="django.contrib.auth.backends.ModelBackend")
    url = f"/instances/{one.pk}/logs"

    def shown(query: str) -> set[str]:
        text = client.get(f"{url}/?{query}").content.decode()
        said = {line["request_id"] for line in client.get(f"{url}.json?{query}").json()["lines"]}
        assert all(word in text for word in said - {""})
        return said - {""}

    assert shown("") == {"req-1", "req-2", "req-3"}
    assert shown("tenant=acme") == {"req-1", "req-2"}
    assert shown("tenant=acme&request=req-2") == {"req-2"}
    assert shown("tenant=nobody") == set()
    page = client.get(f"/instances/{one.pk}/metrics/").content.decode()
    assert "Who uses it" in page


def test_who_is_not_seen_is_among_others() -> None:
    def sample(name: str, tenant: str, value: float, **labels: str) -> Sample:
        return Sample(name, {"tenant": tenant, **labels}, value)

    found = by_tenant(
        [
            sample("http_requests_total", "acme", 90, code="200"),
            sample("http_requests_total", "acme", 10, code="500"),
            sample("http_request_duration_seconds_sum", "acme", 1),
            sample("http_requests_total", "globex", 5, code="200"),
            sample("http_request_duration_seconds_sum", "globex", 2),
            sample("http_request_duration_seconds_sum", "hooli", 1),
        ],
        {"acme": (1, "Acme")},
    )
    assert [(u.name, u.requests, u.share) for u in found] == [("others", 5, 0.75), ("Acme", 100, 0.25)]
    assert found[1].error_rate == 10
    assert found[1].latency == 10


def test_incidents_are_drawn_on_charts_for_who_sees_them(local: Local) -> None:
    one, now = make_instance(cell=local.cell), timezone.now()
    with as_system():
        incident = Incident.objects.create(title="x", cause_key="x", severity="critical")
    Alert.objects.create(
        fingerprint="x", source_name="daytwo", name="InstanceFailing", severity="critical", labels={}, instance=one,
        cell=local.cell, account=local.account, incident=incident, opened_at=now, last_at=now,
    )  # fmt: skip
    marks = chart_data(local.operator, one, "1h")["marks"]
    assert [(m["label"], m["url"]) for m in marks] == [
        ("Incident: InstanceFailing", f"/alerts/incidents/{incident.pk}/")
    ]
    stranger = make_user("stranger")
    grant(stranger, "viewer", "tenant", make_tenant("far"))
    assert chart_data(stranger, one, "1h")["marks"] == []
