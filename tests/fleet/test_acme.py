"""Certificates from a real ACME server (pebble): ordered, proved, presented under load, resumed, refused, taken back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from acme import challenges, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.certificates import issuers, looking, renewing, rotating
from apps.fleet.certificates.acme import faults, ordering, solving
from apps.fleet.certificates.acme.network import Session
from apps.fleet.models import AcmeChallenge, AcmeOrder, Certificate, CertificateIssuer, RenewalPolicy
from apps.operations import engine, runner, services
from apps.operations.models import Operation
from tests.factories import as_system, grant, make_account, make_instance, make_tenant, make_user, place
from tests.fleet import pebble
from tests.fleet.local import VERSION, Local, visitors, wait_for
from tests.fleet.pebble import Pebble

DOMAIN = "fleet.test"


@pytest.fixture
def ca(tmp_path: Path, live_server: LiveServer) -> Iterator[Pebble]:
    """A pebble that asks this portal's own web."""
    port = urlsplit(live_server.url).port
    assert port
    with pebble.running(tmp_path / "pebble", http_port=port) as made:
        yield made


def issuer_at(local: Local, ca: Pebble, **fields: object) -> CertificateIssuer:
    given = {
        "name": "pebble", "account": local.account, "directory_url": ca.url, "domain": DOMAIN,
        "directory_roots": ca.ca, "roots": ca.root, **fields,
    }  # fmt: skip
    eab_key = str(given.pop("eab_key", ""))
    return issuers.save_issuer(CertificateIssuer(**given), eab_key=eab_key, actor=local.operator)


class TestIssuing:
    def test_a_rotation_under_load_has_no_failed_request(self, local: Local, ca: Pebble) -> None:
        one = local.instance("one")
        issuer = issuer_at(local, ca)
        before = local.served(one)
        # Visitors who trust both authorities, as the probes do once the root is known.
        local.provider.authority.trust(ca.root.encode())
        context = local.provider.authority.client_context()
        with visitors(f"{local.endpoint(one)}/healthz", context) as failures:
            operations = [local.rotate(one) for _ in range(2)]
        assert [(o.state, o.error) for o in operations] == [("succeeded", "")] * 2
        assert failures == []
        after = local.served(one)
        assert after.fingerprint != before.fingerprint
        assert "Pebble" in after.issuer
        assert set(after.names) == {f"one.{DOMAIN}", "127.0.0.1"}
        row = Certificate.objects.get(instance=one)
        assert (row.issued_by, row.is_ours, row.is_mismatched) == (issuer, True, False)
        assert local.provider.observe(local.target(one)).generation == 1, "nothing restarts"

    def test_probes_trust_it_and_nothing_secret_is_left(self, local: Local, ca: Pebble) -> None:
        one = local.instance("one")
        issuer_at(local, ca)
        operation = local.rotate(one)
        assert operation.state == "succeeded", operation.error
        seen = local.provider.observe(local.target(one))
        assert (seen.healthy, seen.detail) == (True, "")
        order = AcmeOrder.objects.get()
        assert (order.state, order.key_sealed, order.operation_id) == ("issued", "", operation.pk)
        assert not AcmeChallenge.objects.exists()
        assert set(operation.notes) == {"before", "issuer", "after"}
        kinds = list(Event.objects.filter(kind__startswith="certificate.").values_list("kind", flat=True))
        assert {"certificate.ordered", "certificate.issued"} <= set(kinds)
        trail = AuditEntry.objects.filter(content_type__model="acmeorder")
        assert trail.count() >= 4, "each step of an order is in the trail"
        told = json.dumps([e.changes for e in AuditEntry.objects.all()])
        assert "key_sealed" not in told
        assert "PRIVATE" not in told

    def test_tenants_domains_are_asked_for_too(self, local: Local, ca: Pebble) -> None:
        from apps.tenants.models import Domain

        one = local.instance("one")
        tenant = make_tenant("globex")
        place(tenant, one)
        with as_system():
            Domain.objects.create(tenant=tenant, name="shop.globex.example")
        issuer_at(local, ca, covers_tenants=True)
        assert local.rotate(one).state == "succeeded"
        assert set(local.served(one).names) == {f"one.{DOMAIN}", "127.0.0.1", "shop.globex.example"}

    def test_a_name_that_is_not_ours_is_refused_and_the_old_one_stays(
        self, local: Local, tmp_path: Path
    ) -> None:
        one = local.instance("one")
        before = local.served(one).fingerprint
        with pebble.running(tmp_path / "pebble", http_port=pebble.free_port()) as ca:
            issuer_at(local, ca)
            operation = local.rotate(one)
        assert operation.state == "failed"
        assert f"one.{DOMAIN}" in operation.error or "127.0.0.1" in operation.error
        order = AcmeOrder.objects.get()
        assert (order.state, order.key_sealed) == ("failed", "")
        assert "refused" in order.error.lower() or "ours" in order.error
        assert local.served(one).fingerprint == before

    def test_one_that_is_not_served_is_taken_back(
        self, local: Local, ca: Pebble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = local.provider.root / "versions" / VERSION / "app.py"
        program.chmod(0o600)
        program.write_text(program.read_text().replace("seen == self.certificate_seen", "True"))
        monkeypatch.setattr(rotating, "PATIENCE", 1.0)
        one = local.instance("one")
        issuer_at(local, ca)
        before = local.served(one).fingerprint
        operation = local.rotate(one)
        assert (operation.state, AcmeOrder.objects.get().key_sealed) == ("failed", "")
        assert "not served" in operation.error
        local.provider.restart(local.target(one), generation=1)
        wait_for(lambda: local.provider.observe(local.target(one)).healthy)
        assert local.served(one).fingerprint == before

    def test_a_root_that_is_not_known_is_told_before_anything_is_presented(
        self, local: Local, ca: Pebble
    ) -> None:
        one = local.instance("one")
        before = local.served(one).fingerprint
        issuer_at(local, ca, roots=ca.ca)
        operation = local.rotate(one)
        assert "none of the roots entered with the issuer" in operation.error
        assert local.served(one).fingerprint == before


class TestKilled:
    """A worker that dies in the middle of an order leaves one that another carries on."""

    def die(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        """The next call of this function of `ordering` happens, and its worker dies before it can tell."""
        real, died = getattr(ordering, where), []

        def deadly(*args: object, **kwargs: object) -> object:
            real(*args, **kwargs)
            died.append(where)
            monkeypatch.setattr(ordering, where, real)
            raise KeyboardInterrupt

        monkeypatch.setattr(ordering, where, deadly)

    @pytest.mark.parametrize("where", ["new_key", "_move", "_prove", "_request", "_fetch"])
    def test_another_worker_goes_on_with_the_same_order(
        self, local: Local, ca: Pebble, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        one = local.instance("one")
        issuer_at(local, ca)
        self.die(monkeypatch, where)
        asked = services.submit(kind=rotating.NAME, target_id=one.pk, actor=local.operator, reason="it ends")
        with pytest.raises(KeyboardInterrupt):
            runner.run_due()
        Operation.objects.filter(pk=asked.pk).unrecorded_update(
            lease_until=timezone.now() - timedelta(seconds=1)
        )
        runner.run_due()
        asked.refresh_from_db()
        assert (asked.state, asked.error) == ("succeeded", "")
        order = AcmeOrder.objects.get()
        assert order.fingerprint == local.served(one).fingerprint == asked.notes["after"]

    def test_presented_twice_is_presented_once(self, local: Local, ca: Pebble) -> None:
        one = local.instance("one")
        issuer_at(local, ca)
        asked = services.submit(kind=rotating.NAME, target_id=one.pk, actor=local.operator, reason="it ends")
        works = engine.claim(owner="one that dies", limit=1)
        from apps.core.context import acting

        with acting(local.operator, reason="x"):
            works[0].notes |= rotating.ROTATE.steps[0].run(works)[asked.pk].notes  # type: ignore[union-attr]
            wait_for(lambda: getattr(rotating.ROTATE.steps[1].run(works)[asked.pk], "notes", None), 20)
        once = local.served(one).fingerprint
        Operation.objects.filter(pk=asked.pk).unrecorded_update(
            lease_until=timezone.now() - timedelta(seconds=1)
        )
        runner.run_due()
        asked.refresh_from_db()
        # It could not know that this is the new one already: what is served differs from nothing it noted.
        assert (asked.state, asked.error) == ("succeeded", "")
        assert local.served(one).fingerprint == once == AcmeOrder.objects.get().fingerprint


class TestAccounts:
    def test_an_external_binding(self, local: Local, tmp_path: Path, live_server: LiveServer) -> None:
        one = local.instance("one")
        port = urlsplit(live_server.url).port or 0
        with pebble.running(tmp_path / "bound", http_port=port, binding=True) as ca:
            bare = issuer_at(local, ca)
            assert "external binding" in local.rotate(one).error
            bare.eab_kid = pebble.EAB_KID
            issuers.save_issuer(bare, eab_key=pebble.EAB_KEY, actor=local.operator)
            assert "answers" in issuers.try_issuer(bare, actor=local.operator)
            assert local.rotate(one).state == "succeeded"

    def test_the_same_key_finds_its_account_again(self, local: Local, ca: Pebble) -> None:
        issuer = issuer_at(local, ca)
        issuers.try_issuer(issuer, actor=local.operator)
        url = issuer.account_url
        with as_system():
            CertificateIssuer.objects.filter(pk=issuer.pk).update(account_url="")
        issuer.refresh_from_db()
        issuers.try_issuer(issuer, actor=local.operator)
        assert issuer.account_url == url

    def test_a_directory_that_is_not_trusted_or_not_there(self, local: Local, ca: Pebble) -> None:
        issuer = issuer_at(local, ca, directory_roots="")
        with pytest.raises(faults.IssuerFault, match="own certificate is not trusted"):
            issuers.try_issuer(issuer, actor=local.operator)
        gone = issuer_at(
            local, ca, name="gone", account=None, cell=local.cell, directory_url="https://127.0.0.1:9/dir"
        )
        with pytest.raises(faults.IssuerFault, match="cannot be reached") as failed:
            issuers.try_issuer(gone, actor=local.operator)
        assert failed.value.retryable


class TestSolvers:
    def test_another_way_to_prove_a_name_can_be_registered(self, local: Local, tmp_path: Path) -> None:
        """dns-01 at pebble's own name server; nothing answers by http."""
        with pebble.running(tmp_path / "pebble", http_port=pebble.free_port()) as ca:

            class ByDns:
                kind = challenges.DNS01

                def prepare(
                    self, order: AcmeOrder, name: str, challenge: messages.ChallengeBody, session: Session
                ) -> None:
                    chall = challenge.chall
                    ca.say(chall.validation_domain_name(name), chall.validation(session.key))

                def tidy(self, order: AcmeOrder) -> None:
                    pass

            solver = ByDns()
            solving.register(solver)
            try:
                one = local.instance("one")
                issuer = issuer_at(local, ca)
                from apps.access.services import system_actor
                from apps.core.context import acting

                with acting(system_actor("certificates"), reason="x"):
                    order = ordering.order_of(
                        operation_id=1, issuer=issuer, instance_id=one.pk, names=[f"one.{DOMAIN}"]
                    )
                    wait_for(lambda: ordering.advance(order), 20)
            finally:
                solving.unregister(solver)
        assert order.state == "issued"


class Limiting(BaseHTTPRequestHandler):
    """A directory that knows its account and takes no more orders (pebble has no limits)."""

    def do_GET(self) -> None:
        base = f"https://{self.headers['Host']}"
        names = ("newNonce", "newAccount", "newOrder", "revokeCert")
        self.answer(200, {name: f"{base}/{name}" for name in names})

    def do_HEAD(self) -> None:
        self.answer(200, None)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/newAccount":
            self.answer(201, {"status": "valid"}, Location=f"https://{self.headers['Host']}/account/1")
            return
        self.answer(
            429,
            {
                "type": "urn:ietf:params:acme:error:rateLimited",
                "detail": "too many certificates for fleet.test",
            },
            **{"Retry-After": "7200"},
        )

    def answer(self, status: int, body: object, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json"
        for name, value in {"Replay-Nonce": "abcd1234", "Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Pebble]:
    """A directory at its limit, over https."""
    import ssl

    from apps.fleet.providers.local.authority import Authority

    authority = Authority(tmp_path / "limited")
    chain, key = authority.issue(["127.0.0.1"])
    (tmp_path / "pair.pem").write_bytes(key + chain)
    server = HTTPServer(("127.0.0.1", 0), Limiting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Pebble(f"https://127.0.0.1:{server.server_port}/dir", authority.certificate_file, "", "")
    server.shutdown()
    server.server_close()


class TestLimits:
    def test_a_limit_is_told_remembered_and_respected(self, local: Local, limited: Pebble) -> None:
        one, two = local.instance("one", days=2), local.instance("two", days=2)
        issuer = issuer_at(local, limited)
        operation = local.rotate(one)
        assert operation.state == "failed"
        assert "too many certificates for fleet.test" in operation.error
        assert "Nothing is ordered there before" in operation.error
        assert operation.retries == 0, "to try again at once would make it worse"
        issuer.refresh_from_db()
        assert issuer.held_until is not None
        assert timedelta(minutes=115) < issuer.held_until - timezone.now() <= timedelta(hours=2)
        with pytest.raises(services.Refused, match="limits its orders until"):
            local.rotate(two)
        looking.look()
        Certificate.objects.update(not_before=timezone.now() - timedelta(days=88))
        renewing.save_policy(RenewalPolicy(account=local.account), actor=local.operator)
        Operation.objects.unrecorded_update(finished_at=timezone.now() - timedelta(hours=2))
        assert renewing.renew() == 0
        with as_system():
            CertificateIssuer.objects.update(held_until=timezone.now())
        assert renewing.renew() == 2

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("5", 60), ("600", 600), ("", 3600), ("soon", 3600), ("99999999999", 7 * 86400)],
    )
    def test_what_retry_after_says(self, header: str, seconds: int) -> None:
        assert faults.wait_of(header, timezone.now()) == timedelta(seconds=seconds)

    def test_a_date_in_retry_after(self) -> None:
        from datetime import UTC, datetime

        now = datetime(2026, 11, 24, 20, tzinfo=UTC)
        assert faults.wait_of("Tue, 24 Nov 2026 22:00:00 GMT", now) == timedelta(hours=2)


class TestRenewal:
    def test_at_two_thirds_of_its_life_it_is_ordered_anew(self, local: Local, ca: Pebble) -> None:
        one = local.instance("one")
        issuer_at(local, ca)
        assert local.rotate(one).state == "succeeded"
        before = local.served(one).fingerprint
        renewing.save_policy(RenewalPolicy(account=local.account), actor=local.operator)
        assert renewing.renew() == 0
        now = timezone.now()
        Certificate.objects.update(not_before=now - timedelta(days=61), not_after=now + timedelta(days=29))
        assert renewing.renew() == 1
        runner.run_due()
        assert local.served(one).fingerprint != before
        assert AcmeOrder.objects.filter(state="issued").count() == 2


class TestWhoIssues:
    def test_the_nearest_counts(self, local: Local) -> None:
        def made(name: str, **where: object) -> CertificateIssuer:
            fields = {"name": name, "directory_url": "https://ca.example/dir", "domain": DOMAIN, **where}
            root = make_user(superuser=True)
            return issuers.save_issuer(CertificateIssuer(**fields), actor=root)

        assert issuers.issuer_of(local.cell) is None
        everywhere = made("everywhere")
        assert issuers.issuer_of(local.cell) == everywhere
        of_account = made("of-account", account=local.account)
        assert issuers.issuer_of(local.cell) == of_account
        made("of-cell", cell=local.cell, kind="internal")
        assert issuers.issuer_of(local.cell) is None, "the cell goes back to the internal authority"

    def test_only_who_may_deploy_there_keeps_or_tries_one(self, local: Local) -> None:
        viewer = make_user("vera")
        grant(viewer, "viewer", "account", local.account)
        fields = {"directory_url": "https://ca.example/dir", "domain": DOMAIN}
        for who, where in (
            (viewer, {"account": local.account}), (viewer, {"cell": local.cell}), (local.operator, {}),
            (local.operator, {"account": make_account("other")}),
        ):  # fmt: skip
            issuer = CertificateIssuer(name="x", **fields, **where)
            with pytest.raises((PermissionDenied, Http404)):
                issuers.save_issuer(issuer, actor=who)
            with pytest.raises((PermissionDenied, Http404)):
                issuers.try_issuer(issuer, actor=who)

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"directory_url": "http://ca.example/dir"}, "begins with https"),
            ({"domain": "no domain"}, "such as fleet.example.com"),
            ({"roots": "-----BEGIN"}, "no certificate in PEM"),
            ({"eab_kid": "kid-1"}, "both, a key id and a key"),
        ],
    )
    def test_what_makes_no_sense_is_named(self, local: Local, fields: dict[str, str], complaint: str) -> None:
        given = {
            "name": "x",
            "account": local.account,
            "directory_url": "https://ca.example/dir",
            "domain": DOMAIN,
        }
        with pytest.raises(ValidationError, match=complaint):
            issuers.save_issuer(CertificateIssuer(**{**given, **fields}), actor=local.operator)


class TestAnswering:
    def test_a_token_is_answered_under_any_name_and_no_other_is(self, local: Local, client: Client) -> None:
        issuer = CertificateIssuer(
            name="x", account=local.account, directory_url="https://ca.example/dir", domain=DOMAIN
        )
        issuers.save_issuer(issuer, actor=local.operator)
        with as_system():
            order = ordering.order_of(
                operation_id=1, issuer=issuer, instance_id=make_instance(cell=local.cell).pk, names=["a.test"]
            )
            AcmeChallenge.objects.create(token="t" * 43, order=order, name="a.test", answer="t.thumb")
        path = "/.well-known/acme-challenge/"
        good = client.get(path + "t" * 43, headers={"host": "a.test"})
        assert (good.status_code, good.content, good["Content-Type"][:10]) == (200, b"t.thumb", "text/plain")
        for token in ("u" * 43, "short", "../../etc/passwd", "%00" * 30, ""):
            assert client.get(path + token, headers={"host": "a.test"}).status_code == 404
        assert client.post(path + "t" * 43, headers={"host": "a.test"}).status_code >= 400


class TestPages:
    def test_an_issuer_is_made_tried_and_shown_without_its_keys(self, local: Local, ca: Pebble) -> None:
        client = Client()
        client.force_login(local.operator, backend="django.contrib.auth.backends.ModelBackend")
        data = {
            "name": "pebble", "kind": "acme", "place": "acme", "directory_url": ca.url, "domain": DOMAIN,
            "directory_roots": ca.ca, "roots": ca.root, "is_enabled": "on",
        }  # fmt: skip
        new = "/certificates/issuers/new/"
        for wrong in ({"place": ""}, {"place": "nowhere"}, {"directory_url": "http://x/"}, {"domain": "-"}):
            assert client.post(new, {**data, **wrong}).status_code == 422, wrong
        assert client.post(new, data).status_code == 302
        assert client.post(new, {**data, "name": "other"}).status_code == 422, "one for a place"
        issuer = CertificateIssuer.objects.get()
        page = f"/certificates/issuers/{issuer.pk}/"
        answered = client.post(f"{page}test/")
        assert "answers; the account is https://" in answered.content.decode()
        assert local.rotate(local.instance("one")).state == "succeeded"
        shown = client.get(page).content.decode()
        assert "Issued" in shown
        assert f"one.{DOMAIN}" in shown
        issuer.refresh_from_db()
        assert issuer.key_sealed
        assert issuer.key_sealed not in shown
        inventory = client.get("/certificates/").content.decode()
        assert "pebble (ACME)" in inventory
        assert "pebble issues in acme" in inventory
        changed = {key: data[key] for key in ("directory_url", "domain", "directory_roots", "roots")}
        assert client.post(page, changed).status_code == 302
        issuer.refresh_from_db()
        assert not issuer.is_enabled
        assert issuers.issuer_of(local.cell) is None
        assert local.rotate(Certificate.objects.get().instance).state == "succeeded"
        assert "Daytwo" in Certificate.objects.get().issuer
