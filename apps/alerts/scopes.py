"""Which alerts, incidents, silences and policies lie within given scopes: by what they are about."""

from django.db.models import Q

from apps.access import scoping
from apps.access.scoping import Scopes, any_of
from apps.fleet.models import Cell, Instance

from .models import (
    Alert,
    AlertRule,
    CustomerNotice,
    Delivery,
    Escalation,
    Incident,
    IncidentEvent,
    IncidentNote,
    Page,
    RecoveryDecision,
    RecoveryPolicy,
    RunbookRun,
    RunbookSchedule,
    RunbookStep,
    Signal,
    Silence,
)


def _of_places(scopes: Scopes, *, instance: str = "instance_id", cell: str = "cell_id") -> Q:
    """Rows about an instance, cell or account within the scopes."""
    found = any_of(account_id=scopes.accounts)
    if scopes.accounts or scopes.cells:
        found |= Q(**{f"{cell}__in": _within(Cell, scopes)})
    if instance:
        found |= Q(**{f"{instance}__in": _within(Instance, scopes)})
    return found


def _within(model: type[Cell] | type[Instance], scopes: Scopes) -> object:
    """Ids of the cells or instances within the scopes, as the fleet narrows them."""
    return model._default_manager.filter(scoping.narrow(model, scopes)).order_by().values("pk")


def alerts_within(scopes: Scopes) -> Q:
    """An alert on a shared instance is seen by each of its tenants; one about another tenant is not."""
    own = _of_places(scopes)
    if not scopes.tenants:
        return own
    if not (scopes.accounts or scopes.cells):
        own &= Q(tenant__isnull=True)
    return own | Q(tenant_id__in=scopes.tenants)


def incidents_within(scopes: Scopes) -> Q:
    """Incidents with at least one alert within the scopes."""
    return Q(pk__in=Alert.objects.filter(alerts_within(scopes), incident__isnull=False).values("incident_id"))


def of_incidents(scopes: Scopes) -> Q:
    return Q(incident__in=Incident.objects.filter(incidents_within(scopes)).order_by())


def silences_within(scopes: Scopes) -> Q:
    return _of_places(scopes)


def policies_within(scopes: Scopes) -> Q:
    return _of_places(scopes, instance="")


def runs_within(scopes: Scopes) -> Q:
    """Runs on instances within the scopes."""
    return Q(instance_id__in=_within(Instance, scopes))


def register() -> None:
    """Tell `access` about every model whose rows belong to somebody."""
    scoping.register(Alert, alerts_within)
    scoping.register(Signal, alerts_within)
    scoping.register(Incident, incidents_within)
    for part in (IncidentNote, IncidentEvent, CustomerNotice, Escalation, Page):
        scoping.register(part, of_incidents)
    scoping.register(
        Delivery,
        lambda scopes: Q(page__incident__in=Incident.objects.filter(incidents_within(scopes)).order_by()),
    )
    scoping.register(RunbookRun, runs_within)
    scoping.register(RunbookSchedule, runs_within)
    scoping.register(RunbookStep, lambda s: Q(run__in=RunbookRun.objects.filter(runs_within(s)).order_by()))
    scoping.register(Silence, silences_within)
    scoping.register(RecoveryPolicy, policies_within)
    scoping.register(AlertRule, policies_within)
    scoping.register(
        RecoveryDecision, lambda scopes: Q(alert__in=Alert.objects.filter(alerts_within(scopes)).order_by())
    )
