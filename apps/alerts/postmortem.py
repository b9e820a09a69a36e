"""An incident as a Markdown document: what is known is written, what people have to think about is asked."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.template.defaultfilters import pluralize

from .queries import SHOWN_EVENTS, IncidentPage

ASKED = (
    ("What happened", "In three sentences, for somebody who was not there."),
    ("Why it happened", "Keep asking why until the answer is something that can be changed."),
    ("What went well", ""),
    ("What will be done", "| what | who | until |\n| --- | --- | --- |\n| | | |"),
)


def markdown(page: IncidentPage) -> str:
    """The document, with what the reader of `page` sees."""
    return "\n".join(_lines(page)) + "\n"


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "—"


def _text(value: Any) -> str:
    """A value inside a line of Markdown: nothing in it is markup, nothing in it breaks the line or a table."""
    text = " ".join(str(value).split())
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return text


def _lines(page: IncidentPage) -> Iterator[str]:
    i = page.incident
    yield f"# Post-mortem: {_text(i.title)}"
    yield ""
    minutes = page.duration.total_seconds() / 60
    rows = (
        ("Incident", f"#{i.pk}"), ("Severity", i.get_severity_display()), ("Began", _at(i.opened_at)),
        ("Acknowledged", f"{_at(i.acknowledged_at)} by {_text(i.acknowledged_by)}" if i.acknowledged_by else "—"),
        ("Resolved", _at(i.resolved_at)), ("Duration", f"{minutes:.1f} min"),
        ("Commander", _text(i.commander) if i.commander else "—"),
        ("Alerts", str(page.alert_count)),
        ("Affected", f"{len(page.tenants)} tenant{pluralize(len(page.tenants))}, {page.revenue or 'no'} revenue a month"),
    )  # fmt: skip
    yield from ("| | |", "| --- | --- |")
    yield from (f"| {label} | {value} |" for label, value in rows)
    yield from ("", "## Affected tenants", "")
    yield from [
        f"- {_text(t.name)}{f' ({t.revenue} a month)' if t.revenue else ''}" for t in page.tenants
    ] or ["None known."]
    yield from ("", "## Suspected changes", "")
    yield from [
        f"{n}. {_text(s.words)} of {_text(s.operation.target_label)} (operation {s.operation.pk}): {_text(', '.join(s.reasons))}"
        for n, s in enumerate(page.suspects, start=1)
    ] or ["None in the hour before."]
    yield from ("", "## Timeline", "")
    if len(page.events) == SHOWN_EVENTS:
        yield f"The last {SHOWN_EVENTS} events."
        yield ""
    for event in reversed(page.events):
        why = f" — {_text(event.why)}" if event.why else ""
        yield f"- {event.at:%H:%M:%S} {_text(event.title)} ({_text(event.actor)}){why}"
    yield from ("", "## Recovery", "")
    yield from [
        f"- {d.at:%H:%M:%S} {_text(d.policy)}: {d.get_verdict_display().lower()} — {_text(d.why)}; {d.get_state_display().lower()} {_text(d.result)}"
        for d in reversed(page.decisions)
    ] or ["No recovery policy answered."]
    yield from ("", "## Notes", "")
    yield from [f"- {n.created_at:%H:%M:%S} {_text(n.author)}: {_text(n.text)}" for n in page.notes] or [
        "None."
    ]
    for title, words in ASKED:
        yield from ("", f"## {title}", "", words)
