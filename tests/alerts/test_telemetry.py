"""Figures and logs kept elsewhere: which source is asked, what it is asked, what becomes of its faults; dashboards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.alerts.models import TelemetrySource
from apps.alerts.telemetry import choosing, keeping
from apps.audit.models import AuditEntry
from apps.fleet import query_api
from apps.fleet.models import Cell, Instance
from apps.fleet.queries import logs
from apps.fleet.queries.logs import Wanted
from apps.fleet.query_api import Unanswered
from tests.alerts.lokis import Lokis, serving
from tests.factories import as_system, grant, make_cell, make_instance, make_tenant, make_user, place

AWAY = "http://127.0.0.1:9"
NANO = 10**9


@pytest.fixture
def one(cell: Cell) -> Instance:
    return make_instance("northwind-prod", cell=cell)


def add(boss: User, name: str = "elsewhere", **fields: Any) -> TelemetrySource:
    tokens = {k: fields.pop(k) for k in ("prometheus_token", "loki_token") if k in fields}
    return keeping.save(TelemetrySource(name=name, **fields), **tokens, actor=boss)


# --- Which one ---------------------------------------------------------------------------------------


def test_the_narrowest_that_has_it_is_asked(boss: User, cell: Cell, one: Instance) -> None:
    assert choosing.figures(one) is None
    add(boss, "all", prometheus_url=AWAY, loki_url=AWAY)
    add(boss, "account", prometheus_url=AWAY, account=cell.region.account)
    add(boss, "cell", grafana_url="https://g.example.com/d/x", cell=cell)
    add(boss, "far", prometheus_url=AWAY, cell=make_cell())
    found, kept = choosing.figures(one), choosing.store(one)
    assert found is not None and kept is not None
    assert (found.source.name, kept.source.name) == ("account", "all")
    with as_system():
        TelemetrySource.objects.filter(name="account").update(is_enabled=False)
    found = choosing.figures(one)
    assert found is not None and found.source.name == "all"


@pytest.mark.parametrize(
    "fields",
    [
        {"prometheus_url": "ftp://x"}, {"prometheus_url": "http://"}, {"prometheus_url": "http://u:p@x"},
        {"prometheus_url": "javascript:alert(1)"}, {"loki_url": "http://x/?a=b"}, {"loki_url": "http://x:99999"},
        {"grafana_url": "javascript:alert(1)//{instance}"}, {"grafana_url": "https://{instance}.example.com/"},
        {"grafana_url": "https://g.example.com/{settings}"}, {"grafana_url": "https://g.example.com/{instance.__class__}"},
        {"prometheus_url": AWAY, "queries": {"requests": "sum(x)"}}, {"prometheus_url": AWAY, "queries": {"odd": "$selector"}},
        {"prometheus_url": AWAY, "instance_label": 'x"}'}, {"prometheus_url": AWAY, "org_id": "a\r\nX-Evil: 1"}, {},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(boss: User, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        add(boss, **fields)
    assert not TelemetrySource.objects.exists()


def test_it_takes_managing_alerts_on_everything(olga: User) -> None:
    with pytest.raises(PermissionDenied):
        add(olga, prometheus_url=AWAY)


def test_a_token_is_sealed_recorded_nowhere_and_not_sent_to_another_address(boss: User) -> None:
    made = add(boss, prometheus_url=AWAY, prometheus_token="tok-5ecret")
    assert "tok-5ecret" not in made.prometheus_token_sealed
    entries = AuditEntry.objects.filter(object_repr="elsewhere")
    assert entries.exists()
    assert not any("tok-5ecret" in str(e.changes) or "sealed" in str(e.changes) for e in entries)
    made.prometheus_url = "http://127.0.0.1:10"
    with pytest.raises(ValidationError, match="enter its token again"):
        keeping.save(made, actor=boss)
    keeping.save(made, prometheus_token="another", actor=boss)


# --- Dashboards --------------------------------------------------------------------------------------


def test_a_dashboard_is_linked_with_its_values_escaped(
    client: Client, boss: User, cell: Cell, one: Instance
) -> None:
    add(boss, grafana_url="https://g.example.com/d/x?var-i={instance}&from={from}&to={to}", cell=cell)
    (link,) = choosing.dashboards(boss, one)
    assert link.url.startswith("https://g.example.com/d/x?var-i=northwind-prod&from=")
    assert "{" not in link.url
    odd = choosing.dashboard_url("https://g.example.com/{instance}", instance='a"><b>&/../{cell}')
    assert odd == "https://g.example.com/a%22%3E%3Cb%3E%26%2F..%2F%7Bcell%7D"
    client.force_login(boss)
    assert link.url.replace("&", "&amp;") in client.get(f"/instances/{one.pk}/").content.decode()


# --- Logs --------------------------------------------------------------------------------------------


@pytest.fixture
def loki() -> Iterator[tuple[Lokis, str, ThreadingHTTPServer]]:
    with serving() as made:
        yield made


Loki = tuple[Lokis, str, ThreadingHTTPServer]


def say(kept: Lokis, *texts: str, ago: float = 5, **labels: str) -> None:
    base = int((time.time() - ago) * NANO)
    for n, text in enumerate(texts):
        kept.write(base + n, text, **{"daytwo_instance": "northwind-prod", **labels})


def read(one: Instance, after: str = "", **wanted: str) -> logs.Tail:
    store = logs.store_of(one)
    assert store is not None
    return logs.stored(store, one, after=after, wanted=Wanted(**wanted))


def said(tail: logs.Tail) -> list[str]:
    assert tail.error == ""
    return [line.message for line in tail.lines]


def test_lines_are_read_by_instance_tenant_request_and_words(boss: User, one: Instance, loki: Loki) -> None:
    kept, url, _ = loki
    add(boss, loki_url=url + "/", loki_token="tok", org_id="team-1")
    say(
        kept, '{"message": "served", "tenant": "acme", "request_id": "req-1", "level": "INFO"}', tenant="acme"
    )
    say(kept, "plain words with password=hunter2", 'odd "quotes" \\ and {braces}', ago=3, tenant="globex")
    kept.write(int(time.time() * NANO), "another's", daytwo_instance="northwind-prod-2")
    tail = read(one)
    assert said(tail) == ["served", "plain words with password=[redacted]", 'odd "quotes" \\ and {braces}']
    first = tail.lines[0]
    assert (first.tenant, first.request_id, first.level) == ("acme", "req-1", "info")
    assert said(read(one, tenant="acme")) == ["served"]
    assert said(read(one, request="req-1")) == ["served"]
    assert said(read(one, text='"quotes" \\ and')) == ['odd "quotes" \\ and {braces}']
    assert said(read(one, tenant='x"} or {a="b')) == []
    assert (kept.asked[0]["authorization"], kept.asked[0]["x-scope-orgid"]) == ("Bearer tok", "team-1")


def test_without_a_tenant_label_lines_are_searched_for_it(boss: User, one: Instance, loki: Loki) -> None:
    kept, url, _ = loki
    add(boss, loki_url=url, tenant_label="")
    say(kept, "acme came", "globex came")
    assert said(read(one, tenant="acme")) == ["acme came"]


def test_following_loses_nothing_and_says_nothing_twice(boss: User, one: Instance, loki: Loki) -> None:
    """Lines of one nanosecond, of several streams, that come between two polls."""
    kept, url, _ = loki
    add(boss, loki_url=url)
    tail = read(one)
    assert said(tail) == []
    at = int(time.time() * NANO)
    kept.write(at, "a", daytwo_instance="northwind-prod", tenant="acme")
    tail = read(one, tail.cursor)
    assert said(tail) == ["a"]
    kept.write(at, "b", daytwo_instance="northwind-prod", tenant="acme")
    kept.write(at + 1, "c", daytwo_instance="northwind-prod", tenant="globex")
    tail = read(one, tail.cursor)
    assert said(tail) == ["b", "c"]
    assert said(read(one, tail.cursor)) == []
    assert read(one, tail.cursor).cursor == tail.cursor
    for n in range(450):
        kept.write(at + 10 + n, f"line {n}", daytwo_instance="northwind-prod")
    seen: list[str] = []
    for _ in range(4):
        tail = read(one, tail.cursor)
        seen += said(tail)
    assert seen == [f"line {n}" for n in range(450)]


@pytest.mark.parametrize("cursor", ["nonsense", "1:2:3", "9" * 40, "-1:0", "1:-1", "1:999999"])
def test_a_cursor_that_is_none_is_told(boss: User, one: Instance, loki: Loki, cursor: str) -> None:
    add(boss, loki_url=loki[1])
    tail = read(one, cursor)
    assert "load it anew" in tail.error
    assert tail.cursor == cursor


def test_its_faults_are_told_and_over_once_it_is_back(boss: User, one: Instance, loki: Loki) -> None:
    kept, url, _ = loki
    source = add(boss, loki_url=url)
    say(kept, "hello")
    kept.failing = "too many outstanding requests"
    assert read(one).error == "Loki refused the query: too many outstanding requests"
    kept.failing = ""
    assert said(read(one)) == ["hello"]
    assert keeping.try_out(source, actor=boss) == [("Loki", "")]
    source.loki_url = AWAY
    keeping.save(source, actor=boss)
    assert read(one, "5:0").error == "Loki was not reached: ConnectError."
    assert read(one, "5:0").cursor == "5:0", "where the page was stays"
    assert keeping.try_out(source, actor=boss) == [("Loki", "Loki was not reached: ConnectError.")]


def test_the_page_reads_from_either(
    client: Client, boss: User, cell: Cell, one: Instance, loki: Loki
) -> None:
    kept, url, _ = loki
    add(boss, "store", loki_url=url)
    say(kept, "kept elsewhere")
    client.force_login(boss)
    page = reverse("fleet:instance_log_page", args=[one.pk])
    poll = reverse("fleet:instance_logs", args=[one.pk])
    assert "from store (127.0.0.1)" in client.get(page).content.decode()
    text = client.get(page, {"kept": "1", "text": "elsewhere"}).content.decode()
    assert "kept elsewhere" in text
    assert f"{poll}?text=elsewhere&amp;kept=1" in text
    answer = client.get(poll, {"kept": "1"}).json()
    assert [line["message"] for line in answer["lines"]] == ["kept elsewhere"]
    reader = make_user("rita")
    grant(reader, "viewer", "account", cell.region.account)
    client.force_login(reader)
    assert client.get(poll, {"kept": "1"}).status_code == 403


def test_a_tenants_reader_reads_no_shared_instances_lines(client: Client, one: Instance, cell: Cell) -> None:
    tenant = make_tenant("acme")
    place(tenant, one)
    with as_system():
        Instance.objects.filter(pk=one.pk).update(kind="shared")
    reader = make_user("tina")
    grant(reader, "support", "tenant", tenant)
    client.force_login(reader)
    assert client.get(reverse("fleet:instance_logs", args=[one.pk]), {"kept": "1"}).status_code in (403, 404)


# --- Asking ------------------------------------------------------------------------------------------


def test_an_answer_that_is_none_is_told(httpserver_of: Callable[[bytes, int], str]) -> None:
    for body, status, words in (
        (b"<html>", 502, "answered 502 with no JSON"),
        (b'{"status": "error", "error": "bad"}', 400, "refused the query: bad"),
        (b"[" * 100_000, 200, "no JSON"),
        (b"[]", 200, "an odd answer"),
    ):
        with pytest.raises(Unanswered, match=words):
            query_api.ask("It", httpserver_of(body, status), {})


def test_a_huge_answer_is_not_read_whole(
    httpserver_of: Callable[[bytes, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_api, "MOST_BYTES", 1_000)
    with pytest.raises(Unanswered, match="ask for less"):
        query_api.ask("It", httpserver_of(b"x" * 5_000_000, 200), {})


@pytest.fixture
def httpserver_of() -> Iterator[Callable[[bytes, int], str]]:
    import threading
    from http.server import BaseHTTPRequestHandler

    servers = []

    def make(body: bytes, status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    return

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


# --- Pages -------------------------------------------------------------------------------------------


def test_by_the_pages(client: Client, boss: User, cell: Cell, loki: Loki) -> None:
    client.force_login(boss)
    made = {
        "name": "mine", "place": cell.name, "prometheus_url": AWAY, "loki_url": loki[1], "loki_token": "tok-1",
        "instance_label": "pod", "tenant_label": "", "promql": "requests = sum by ($by) (rate(hits{$selector}[$window]))",
        "is_enabled": "on",
    }  # fmt: skip
    assert client.post(reverse("alerts:new_telemetry"), {**made, "prometheus_url": "x"}).status_code == 422
    assert client.post(reverse("alerts:new_telemetry"), {**made, "promql": "nonsense"}).status_code == 422
    answer = client.post(reverse("alerts:new_telemetry"), made)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    source = TelemetrySource.objects.get()
    assert (source.cell, source.instance_label) == (cell, "pod")
    assert source.queries == {"requests": "sum by ($by) (rate(hits{$selector}[$window]))"}
    page = reverse("alerts:telemetry", args=[source.pk])
    assert "tok-1" not in client.get(page).content.decode()
    assert "mine" in client.get(reverse("alerts:sources")).content.decode()
    tried = client.post(reverse("alerts:try_telemetry", args=[source.pk])).content.decode()
    assert "Prometheus: Prometheus was not reached: ConnectError." in tried
    assert "Loki: answers" in tried
    sealed = source.loki_token_sealed
    assert client.post(page, {**made, "loki_token": "", "name": "renamed"}).status_code == 302
    source.refresh_from_db()
    assert (source.name, source.loki_token_sealed) == ("renamed", sealed)
