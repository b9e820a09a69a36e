"""Runbooks and their versions: from the repository, and from people."""

from pathlib import Path
from typing import Any

from django.db import transaction

from apps.access.choices import Permission
from apps.access.services import system_actor
from apps.core.context import acting
from apps.core.events import event, record

from ..models import Runbook, RunbookVersion
from ..services import Refused, require_on
from . import reading

LIBRARY = Path(__file__).parent / "library"


def save(text: str, *, note: str, actor: Any, runbook: Runbook | None = None) -> Runbook:
    """Keep a definition as the newest version; the same text again changes nothing.

    Raises Malformed, Refused for a name that is taken or changed, PermissionDenied: it takes managing alerts on everything.
    """
    require_on(actor, Permission.MANAGE_ALERTS, None)
    definition = reading.read(text)
    if runbook is not None and definition.name != runbook.name:
        raise Refused(f"Its name stays “{runbook.name}”; for another name, make a new runbook.")
    with (
        transaction.atomic(durable=True),
        acting(actor, reason=note or f"keeps the runbook {definition.name}"),
    ):
        if runbook is None and Runbook.objects.filter(name=definition.name).exists():
            raise Refused(f"There is a runbook “{definition.name}” already.")
        kept, number = _keep(definition, text, note=note, actor=actor)
        if number:
            record([event("runbook.kept", f"Runbook “{kept}”, version {number}", why=note, actor=actor)])
        return kept


def _keep(definition: reading.Definition, text: str, *, note: str, actor: Any) -> tuple[Runbook, int]:
    """The runbook, and the number of the version that was made; 0 where the text is the last one's."""
    texts = {"title": definition.title, "about": definition.about, "tags": list(definition.tags)}
    runbook, _ = Runbook.objects.get_or_create(name=definition.name, defaults=texts)
    runbook = Runbook.objects.select_for_update().get(pk=runbook.pk)
    last = runbook.versions.order_by("-number").first()
    if last is not None and last.text == text:
        return runbook, 0
    for name, value in texts.items():
        setattr(runbook, name, value)
    runbook.save()
    made = RunbookVersion.objects.create(
        runbook=runbook, number=(last.number if last else 0) + 1, text=text, note=note[:200], author=actor
    )
    return runbook, made.number


def switch(runbook: Runbook, *, on: bool, actor: Any) -> None:
    """Let it be run, or not."""
    require_on(actor, Permission.MANAGE_ALERTS, None)
    with (
        transaction.atomic(durable=True),
        acting(actor, reason=f"switches {runbook.name} {'on' if on else 'off'}"),
    ):
        runbook.is_enabled = on
        runbook.save()


def take_over_library() -> int:
    """Take over what the repository says, where nobody changed it in the portal; gives how many versions were made.

    All of it at once, told in one event: a newcomer's first page is no list of files.
    """
    system, titles = system_actor("alerts"), list[str]()
    with transaction.atomic(durable=True), acting(system, reason="from the repository", via="system"):
        for path in sorted(LIBRARY.glob("*.yaml")):
            text = path.read_text()
            definition = reading.read(text)
            last = RunbookVersion.objects.filter(runbook__name=definition.name).order_by("-number").first()
            if last is not None and (last.author_id != system.pk or last.text == text):
                continue
            _keep(definition, text, note="from the repository", actor=system)
            titles.append(definition.title)
        if titles:
            words = f"Runbook “{titles[0]}” was" if len(titles) == 1 else f"{len(titles)} runbooks were"
            why = ", ".join(titles)[:500]
            record([event("runbook.kept", f"{words} taken over from the repository", why=why, actor=system)])
    return len(titles)
