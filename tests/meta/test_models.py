"""Every model has an admin, is recorded, lies in scopes, and has a name; what does not says why."""

from __future__ import annotations

import pytest
from auditlog.registry import auditlog
from django.apps import apps
from django.contrib import admin
from django.core.management import call_command
from django.db import models

from apps.access import scoping

OURS = [model for model in apps.get_models() if model.__module__.startswith("apps.")]
EVERY_MODEL = pytest.mark.parametrize("model", OURS, ids=lambda m: m._meta.label_lower)

NO_ADMIN = {
    "access.scopeuserpermission": "written from grants by the services; the grants have an admin",
    "access.scopegrouppermission": "written from grants by the services; the grants have an admin",
    "operations.step": "shown inside its operation",
    "cost.dailycost": "a view, a row a day, over the series of days, which have an admin",
    "fleet.measurement": "observed, kept two days; nothing to fix in it",
    "fleet.probe": "when to look next; whoever wants a look now has the operations",
    "fleet.simulatedeffect": "what the simulated world did; nothing to fix in it",
}
#: Visible only to who holds the permission on everything.
NO_SCOPE = {
    "core.savedview": "its owner's, asked for by owner; shared ones hold no data",
    "access.user": "people belong to the company; the access page narrows their grants",
    "access.scope": "reached through grants",
    "access.role": "the same for everybody; changed only by who manages access on everything",
    "access.grant": "narrowed by access.granting.manageable, which asks the scopes' own models",
    "access.accessrequest": "narrowed by access.asking.seen_by: one's own, and where one manages access",
    "access.breakglass": "narrowed by access.breaking.seen_by: one's own, and where one manages access",
    "access.accessreview": "its items are narrowed by access.reviewing.items_of",
    "access.reviewitem": "narrowed by access.reviewing.items_of: where one manages access, and not one's own",
    "access.hand": "what the two-person rule goes by; shown in the admin to who fixes data on everything",
    "access.scimgroup": "shown to who manages access anywhere: names of groups, and nothing of a tenant",
    "access.ssogroup": "shown to who manages access anywhere: names of groups, and nothing of a tenant",
    "access.preapproval": "narrowed by access.pre_approvals.manageable",
    "access.apitoken": "its owner's",
    "access.notice": "letters, for who fixes everything",
    "access.scopeuserpermission": "read only by access.scoping itself",
    "access.scopegrouppermission": "read only by access.scoping itself",
    "audit.auditretirement": "what retention signed for; shown with the seals to who reads the trail on everything",
    "audit.auditentry": "the trail is no tenant's: it takes the permission on everything",
    "operations.step": "read through its operation",
    "operations.approvalrule": "policy of the whole company",
    "operations.approvalrulechange": "policy of the whole company",
    "fleet.probe": "read by the probers alone",
    "fleet.simulatedinstance": "the simulated world, for who may fix everything",
    "fleet.simulatedeffect": "the simulated world, read by its provider alone",
    "audit.auditseal": "seals of the whole trail, which is no tenant's",
    "audit.auditcheck": "verifications of the whole trail",
    "audit.auditstream": "where the whole trail is sent",
    "releases.component": "packages of the product itself: the same for everybody",
    "releases.releasecomponent": "packages of the product itself: the same for everybody",
    "releases.advisorymatch": "computed from advisories and packages: the same for everybody",
    "alerts.source": "who may send signals: for who manages alerting on everything",
    "alerts.telemetrysource": "where the portal asks: for who manages alerting on everything",
    "alerts.seensignature": "read by the intake alone",
    "alerts.signalcount": "counts over all sources: for who manages alerting on everything",
    "alerts.heartbeat": "of the company's own machinery, no tenant's",
    "alerts.oncallschedule": "the company's people and their turns",
    "alerts.oncallmember": "the company's people and their turns",
    "alerts.oncalloverride": "the company's people and their turns",
    "alerts.channel": "its owner's, or the team's",
    "alerts.runbook": "what to do about what: the same for everybody",
    "alerts.runbookversion": "what to do about what: the same for everybody",
    "alerts.escalationpolicy": "policy of the whole company",
    "alerts.escalationstep": "policy of the whole company",
    "cost.bill": "a provider's bill spans accounts and tenants: for who sees all",
    "cost.billsource": "where the company's bills come from: for who sees all",
    "cost.statement": "spans accounts and tenants: for who sees all",
    "cost.run": "sums over a whole statement: for who sees all",
    "cost.ruleset": "rules over everybody's cost: for who sees all",
    "cost.rule": "rules over everybody's cost: for who sees all",
    "cost.productcomponent": "which part of the product a service is: the same for everybody",
    "cost.inputchange": "counts of changes, no figure of anybody's; read by the service that keeps expected revenue",
    "cost.expectedmonth": "which months are kept, no figure of anybody's",
    "cost.rate": "no one's: read by the service that converts",
}


@EVERY_MODEL
def test_it_has_an_admin(model: type[models.Model]) -> None:
    assert admin.site.is_registered(model) != (model._meta.label_lower in NO_ADMIN)


@EVERY_MODEL
def test_it_is_recorded_or_says_why_not(model: type[models.Model]) -> None:
    exempt = getattr(model, "AUDIT_EXEMPT", None)
    assert exempt is not None, "it stands on no BaseModel; then give it AUDIT_EXEMPT, with a reason"
    assert auditlog.contains(model) != bool(exempt)
    assert exempt == "" or len(exempt.split()) >= 3, "a reason is a sentence"


@EVERY_MODEL
def test_it_lies_in_scopes(model: type[models.Model]) -> None:
    assert (model in scoping.registered()) != (model._meta.label_lower in NO_SCOPE)


@EVERY_MODEL
def test_it_has_a_name_of_its_own(model: type[models.Model]) -> None:
    assert model.__str__ is not models.Model.__str__


@EVERY_MODEL
def test_no_relation_is_emptied_behind_the_trails_back(model: type[models.Model]) -> None:
    """SET_NULL and its like are done by Django in bulk, where nobody records them."""
    if model.AUDIT_EXEMPT:  # type: ignore[attr-defined]
        return
    for field in model._meta.concrete_fields:
        on_delete = getattr(field.remote_field, "on_delete", None)
        assert on_delete in (None, models.CASCADE, models.PROTECT, models.RESTRICT, models.DO_NOTHING), field


@EVERY_MODEL
def test_what_is_recorded_has_no_second_manager(model: type[models.Model]) -> None:
    """Another manager would be another way to write."""
    if auditlog.contains(model):
        assert [manager.name for manager in model._meta.managers] == ["objects"]


def test_exemptions_name_models_that_are_there() -> None:
    labels = {model._meta.label_lower for model in OURS}
    assert set(NO_ADMIN) <= labels
    assert set(NO_SCOPE) <= labels


@pytest.mark.django_db
@pytest.mark.parametrize("app", sorted({model._meta.app_label for model in OURS}))
def test_migrations_say_what_the_models_say(app: str) -> None:
    call_command("makemigrations", app, check=True, dry_run=True, verbosity=0)
