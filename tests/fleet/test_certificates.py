"""Certificates: what is served is seen, judged, rotated under load without a failed request, taken back, renewed in stages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.core.context import acting
from apps.core.models import Event
from apps.fleet.certificates import judging, looking, renewing, rotating
from apps.fleet.models import Certificate, Instance, RenewalPolicy
from apps.fleet.providers.base import ServedCertificate, Target
from apps.operations import runner, services
from apps.operations.models import Operation
from tests.factories import grant, make_account, make_cell, make_instance, make_user
from tests.fleet.local import VERSION, Local, visitors, wait_for
from tests.meta.test_kinds import run, work_on


class TestJudging:
    @pytest.mark.parametrize(
        ("key", "is_weak"),
        [
            ("EC secp256r1", False), ("EC secp384r1", False), ("EC secp192r1", True), ("RSA 2048", False),
            ("RSA 1024", True), ("DSA 2048", True), ("Ed25519", False), ("unknown", True),
        ],
    )  # fmt: skip
    def test_weak_keys(self, key: str, is_weak: bool) -> None:
        assert bool(judging.weakness(key)) == is_weak

    @pytest.mark.parametrize(
        ("names", "host", "is_covered"),
        [
            (["shop.example"], "shop.example", True),
            (["SHOP.example."], "shop.EXAMPLE", True),
            (["*.example"], "shop.example", True),
            (["*.example"], "a.shop.example", False),
            (["*.example"], "example", False),
            (["shop.example"], "shop.example.evil", False),
            (["127.0.0.1"], "127.0.0.1", True),
            ([], "shop.example", False),
        ],
    )
    def test_names(self, names: list[str], host: str, is_covered: bool) -> None:
        assert judging.covers(names, host) == is_covered

    def test_stages(self) -> None:
        now = timezone.now()
        days = (-1, 0.5, 1, 5, 7, 20, 30, 31)
        assert [judging.stage(now + timedelta(days=d), now) for d in days] == [0, 1, 1, 7, 7, 30, 30, None]

    def test_a_short_life_is_told_of_on_its_last_day_only(self) -> None:
        now = timezone.now()
        for life, days, told in ((6, 5, None), (6, 0.5, 1), (47, 29, 30), (40, 29, None), (40, 6, 7)):
            ends = now + timedelta(days=days)
            assert judging.stage(ends, now, ends - timedelta(days=life)) == told, (life, days)

    def test_two_thirds_of_ninety_days_are_sixty(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        assert judging.due_at(at, at + timedelta(days=100), 67) == at + timedelta(days=67)


class TestInventory:
    def test_what_is_served_is_seen_by_a_handshake(self, local: Local) -> None:
        one = local.instance("one")
        assert looking.look() == 1
        row = Certificate.objects.get(instance=one)
        assert row.fingerprint == local.served(one).fingerprint
        assert (row.is_ours, row.is_weak, row.is_mismatched, row.error) == (True, False, False, "")
        assert looking.look() == 0, "it was looked at just now"

    def test_one_that_cannot_be_seen_keeps_what_was_seen_and_says_why(self, local: Local) -> None:
        one = local.instance("one")
        looking.look()
        local.provider.stop(local.target(one))
        Certificate.objects.update(looked_at=timezone.now() - timedelta(hours=1))
        looking.look()
        row = Certificate.objects.get(instance=one)
        assert "does not run" in row.error
        assert row.not_after is not None

    def test_one_that_cannot_be_read_hides_no_other(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = local.instance("one"), local.instance("two")
        real = local.provider.served_certificate

        def served(target: Target) -> ServedCertificate:
            if target.name == "one":
                raise ValueError("error parsing asn1 value")
            return real(target)

        monkeypatch.setattr(local.provider, "served_certificate", served)
        assert looking.look() == 2
        assert "cannot be read" in Certificate.objects.get(instance=one).error
        assert Certificate.objects.get(instance=two).is_ours

    def test_another_certificate_is_told_and_a_wrong_name_is_seen(self, local: Local) -> None:
        one = local.instance("one")
        looking.look()
        chain, key = local.provider.authority.issue(["elsewhere.example"])
        local.provider.present_certificate(local.target(one), chain_pem=chain, key_pem=key)
        Certificate.objects.update(looked_at=timezone.now() - timedelta(hours=1))
        looking.look()
        assert Certificate.objects.get(instance=one).is_mismatched
        assert Event.objects.filter(kind="certificate.changed", instance_id=one.pk).count() == 1


class TestRotation:
    def test_one_near_its_end_is_rotated_under_load_with_no_failed_request(self, local: Local) -> None:
        one = local.instance("one", days=2)
        before = local.served(one)
        with visitors(
            f"{local.endpoint(one)}/healthz", local.provider.authority.client_context()
        ) as failures:
            operations = [local.rotate(one) for _ in range(3)]
        assert {o.state for o in operations} == {"succeeded"}
        assert failures == []
        after = local.served(one)
        assert after.fingerprint != before.fingerprint
        assert after.not_after > timezone.now() + timedelta(days=80)
        assert {"one", "127.0.0.1"} <= set(after.names)
        assert Certificate.objects.get(instance=one).fingerprint == after.fingerprint
        assert local.provider.observe(local.target(one)).generation == 1, "nothing restarts"

    def test_one_that_is_not_served_is_taken_back(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process is of a version that reads its certificate only as it starts."""
        program = local.provider.root / "versions" / VERSION / "app.py"
        program.chmod(0o600)
        text = program.read_text()
        assert "seen == self.certificate_seen" in text
        program.write_text(text.replace("seen == self.certificate_seen", "True"))
        monkeypatch.setattr(rotating, "PATIENCE", 1.0)
        one = local.instance("one")
        before = local.served(one).fingerprint
        operation = local.rotate(one)
        assert operation.state == "failed"
        assert "not served" in operation.error
        assert local.served(one).fingerprint == before
        local.provider.restart(local.target(one), generation=1)
        wait_for(lambda: local.provider.observe(local.target(one)).healthy)
        assert local.served(one).fingerprint == before, "what is on the disk is the old one too"

    def test_each_step_run_twice_has_no_second_effect(self, local: Local) -> None:
        one = local.instance("one")
        with acting(local.operator, reason="x"):
            work = work_on(one, rotating.ROTATE)
            for step in rotating.ROTATE.steps:
                kept = dict(work.notes)
                run(step, work)
                once = local.served(one).fingerprint
                work.notes = kept if step.name == "issue and present" else work.notes
                run(step, work)
                assert local.served(one).fingerprint == once, step.name
            for step in rotating.ROTATE.undo:
                run(step, work)
                run(step, work)
            assert local.served(one).fingerprint == work.notes["before"]

    def test_no_key_is_left_in_the_database(self, local: Local) -> None:
        operation = local.rotate(local.instance("one"))
        assert set(operation.notes) == {"before", "issuer", "after"}
        assert not any("PRIVATE" in str(e.why) for e in Event.objects.all())

    def test_a_simulated_one_is_refused_beforehand(self, local: Local) -> None:
        one = make_instance(cell=make_cell(account=local.account))
        with pytest.raises(services.Refused, match="serves no certificate"):
            services.submit(kind=rotating.NAME, target_id=one.pk, actor=local.operator, reason="it ends soon")

    def test_one_that_is_down_fails_and_says_so(self, local: Local) -> None:
        one = local.instance("one")
        local.provider.stop(local.target(one))
        asked = services.submit(kind=rotating.NAME, target_id=one.pk, actor=local.operator, reason="it ends")
        Operation.objects.filter(pk=asked.pk).unrecorded_update(attempts=3)
        runner.run_due()
        asked.refresh_from_db()
        assert asked.state == "failed"
        assert "start it first" in asked.error


class TestRenewal:
    def policy(self, local: Local, **fields: object) -> RenewalPolicy:
        return renewing.save_policy(RenewalPolicy(account=local.account, **fields), actor=local.operator)

    def seen(
        self, instance: Instance, *, days_left: float, life: float = 90, **fields: object
    ) -> Certificate:
        now = timezone.now()
        return Certificate.objects.create(
            instance=instance, is_ours=True, fingerprint=f"{instance.pk:064}", key="EC secp256r1",
            not_after=now + timedelta(days=days_left), not_before=now - timedelta(days=life - days_left), **fields,
        )  # fmt: skip

    def test_it_is_renewed_at_two_thirds_of_its_life_and_not_before(self, local: Local) -> None:
        one = local.instance("one", days=2)
        local.instance("two")
        looking.look()
        Certificate.objects.filter(instance=one).update(not_before=timezone.now() - timedelta(days=88))
        assert renewing.renew() == 0, "no policy, no renewal"
        self.policy(local)
        assert renewing.renew() == 1
        assert renewing.renew() == 0, "it is under way"
        runner.run_due()
        assert Operation.objects.get().state == "succeeded"
        assert local.served(one).not_after > timezone.now() + timedelta(days=80)
        assert renewing.renew() == 0

    def test_one_cell_after_the_other_and_few_at_once(self, local: Local) -> None:
        cells = [make_cell(f"cell-{n}", account=local.account, provider="local") for n in range(2)]
        rows = [make_instance(cell=cells[n % 2]) for n in range(8)]
        for n, row in enumerate(rows):
            self.seen(row, days_left=20 + n)
        self.policy(local, at_once=3)
        assert renewing.renew() == 3
        assert set(Operation.objects.values_list("cell_id", flat=True)) == {cells[0].pk}
        Operation.objects.filter(pk=Operation.objects.earliest("pk").pk).update(
            state="succeeded", finished_at=timezone.now()
        )
        Certificate.objects.filter(instance=rows[0]).delete()
        assert renewing.renew() == 1
        assert set(Operation.objects.values_list("cell_id", flat=True)) == {cells[0].pk}

    def test_a_failure_holds_the_account_but_for_what_ends_tomorrow(self, local: Local) -> None:
        one, two, last = (make_instance(cell=local.cell) for _ in range(3))
        self.seen(one, days_left=10)
        self.seen(two, days_left=20)
        self.policy(local, at_once=1)
        assert renewing.renew() == 1
        Operation.objects.update(state="failed", finished_at=timezone.now())
        assert renewing.renew() == 0
        self.seen(last, days_left=0.5)
        assert renewing.renew() == 1
        assert Operation.objects.latest("pk").target_id == last.pk

    def test_others_certificates_and_stopped_instances_are_left_alone(self, local: Local) -> None:
        self.policy(local)
        self.seen(make_instance(cell=local.cell, wanted="stopped"), days_left=3)
        row = self.seen(make_instance(cell=local.cell), days_left=3)
        Certificate.objects.filter(pk=row.pk).update(is_ours=False)
        self.seen(make_instance(cell=make_cell("far", provider="local")), days_left=3)
        assert renewing.renew() == 0

    def test_only_who_may_deploy_there_orders_it(self, local: Local) -> None:
        from django.core.exceptions import PermissionDenied
        from django.http import Http404

        viewer = make_user("vera")
        grant(viewer, "viewer", "account", local.account)
        for policy in (
            RenewalPolicy(account=local.account),
            RenewalPolicy(),
            RenewalPolicy(account=make_account("b")),
        ):
            with pytest.raises((PermissionDenied, Http404)):
                renewing.save_policy(policy, actor=viewer)
        with pytest.raises(PermissionDenied):
            renewing.save_policy(RenewalPolicy(), actor=local.operator)


class TestPages:
    def get(self, user: User, path: str) -> str:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client.get(path).content.decode()

    def test_the_inventory_and_its_report(self, local: Local) -> None:
        one, two = (make_instance(name, cell=local.cell) for name in ("shop-one", "shop-two"))
        now = timezone.now()
        made = {"not_before": now - timedelta(days=80), "names": ["shop"]}
        Certificate.objects.create(
            instance=one, not_after=now + timedelta(days=5), key="RSA 1024", is_weak=True, **made
        )
        Certificate.objects.create(instance=two, not_after=now + timedelta(days=80), key="Ed25519", **made)
        page = self.get(local.operator, "/certificates/")
        assert "RSA of 1024 bits" in page
        assert "within 7 days" in page
        narrowed = self.get(local.operator, "/certificates/?problem=weak")
        assert "shop-one" in narrowed
        assert "shop-two" not in narrowed
        assert "Certificate" in self.get(local.operator, f"/instances/{one.pk}/")
        assert "RSA of 1024 bits" in self.get(local.operator, f"/instances/{one.pk}/")

    def test_renewal_by_the_page(self, local: Local) -> None:
        client = Client()
        client.force_login(local.operator, backend="django.contrib.auth.backends.ModelBackend")
        data = {"place": "acme", "share": "67", "at_once": "2", "is_enabled": "on"}
        assert client.post("/certificates/renewal/new/", {**data, "place": ""}).status_code == 422
        assert client.post("/certificates/renewal/new/", {**data, "share": "99"}).status_code == 422
        assert client.post("/certificates/renewal/new/", data).status_code == 302
        assert client.post("/certificates/renewal/new/", data).status_code == 422, "once is enough"
        policy = RenewalPolicy.objects.get()
        changed = client.post(f"/certificates/renewal/{policy.pk}/", {"share": "50", "at_once": "1"})
        assert changed.status_code == 302
        policy.refresh_from_db()
        assert (policy.share, policy.is_enabled) == (50, False)
