"""From a symptom straight to what mends it: for each alert, the actions on its instance that its reader may take."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.core.slots import Link
from apps.fleet.certificates import rotating
from apps.fleet.choices import Health, Wanted
from apps.fleet.models import Instance
from apps.operations.models import Operation

from .certificates import NAME, SOURCE
from .models import Alert
from .suspects import Suspect
from .taking_back import replaced_by


@dataclass(frozen=True, slots=True)
class Mend:
    """One action: `dialog` is a form above the page, else it is a page of its own."""

    label: str
    url: str
    dialog: bool = True


def mends(user: Any, alerts: Sequence[Alert], suspected: Sequence[Suspect]) -> dict[int, list[Mend]]:
    """By alert that is open, what mends its instance; the suspected change is taken back first. Four queries at most."""
    ids = {a.instance_id for a in alerts if a.is_open and a.instance_id}
    if not ids:
        return {}
    rows = Instance.objects.filter(pk__in=ids).order_by()
    may = visible(user, rows, Permission.RESTART).in_bulk()
    ending = {a.pk for a in alerts if a.is_open and (a.source_name, a.name) == (SOURCE, NAME)}
    rotates = set(visible(user, rows, Permission.DEPLOY).values_list("pk", flat=True)) if ending else set()
    deploys = {s.operation.pk: s for s in suspected if s.operation.kind == "deploy"}
    before = _before(user, rows, bool(deploys))
    found = {}
    for alert in alerts:
        if alert.is_open and (instance := may.get(alert.instance_id or 0)) is not None:
            is_certificate = alert.pk in ending
            mine = _rotate(instance, rotates) if is_certificate else _of(instance, before)
            found[alert.pk] = [*mine, Mend("Run a runbook", runbooks_for(instance.name), dialog=False)]
    return found


def _rotate(instance: Instance, allowed: Collection[int]) -> list[Mend]:
    """A certificate that ends is mended by another one, and by no restart."""
    url = reverse("operations:act", args=[rotating.NAME, instance.pk])
    return [Mend("Rotate certificate", url)] if instance.pk in allowed else []


def _before(user: Any, rows: Any, is_suspected: bool) -> dict[int, str]:
    """By instance on which they may deploy, the version that its last deploy of late replaced."""
    if not is_suspected:
        return {}
    ids = list(visible(user, rows, Permission.DEPLOY).values_list("pk", flat=True))
    found: dict[int, str] = {}
    for operation in replaced_by(Operation.objects.filter(target_id__in=ids)).order_by("id"):
        found[operation.target_id] = str(operation.notes.get("wanted_before", ""))
    return found


def _of(instance: Instance, before: dict[int, str]) -> list[Mend]:
    found = []
    if (version := before.get(instance.pk)) and version != instance.wanted_version:
        url = reverse("operations:act", args=["deploy", instance.pk])
        found.append(Mend(f"Roll back to {version}", f"{url}?{urlencode({'version': version})}"))
    is_down = instance.health == Health.STOPPED or instance.wanted == Wanted.STOPPED
    kind, label = ("start", "Start") if is_down else ("restart", "Restart")
    found.append(Mend(label, reverse("operations:act", args=[kind, instance.pk])))
    return found


def runbooks_for(name: str) -> str:
    """The catalogue, for one instance."""
    return f"{reverse('alerts:runbooks')}?{urlencode({'instance': name})}"


def links(user: Any, instance: Instance, may: Collection[str]) -> list[Link]:
    """“Run a runbook” on an instance's page, for who may do something there."""
    return [Link("Run a runbook", runbooks_for(instance.name))] if Permission.RESTART in may else []
