"""How the trail is listed."""

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.core.templatetags.ui import at, tag

from .choices import EventKind
from .models import AuditEntry
from .queries import Change, changes_of, object_url, operation_url
from .seals import SealState

#: Columns of one entry that the list shows, and how much of each value.
SHOWN, CLIPPED = 3, 40


#: Kinds whose text says it all: what they are about is no row that was changed.
TOLD = frozenset(
    {EventKind.SIGN_IN, EventKind.SIGN_IN_FAILED, EventKind.SIGN_OUT, EventKind.DENIED, EventKind.EXPORT}
)


def seal_tag(state: SealState) -> SafeString:
    """The state of a seal or an entry, with a link to the seal."""
    mark = tag(state.tone, state.text)
    if state.number is None:
        return mark
    return format_html(
        '{}<small><a href="{}?number={}">seal #{}</a></small>',
        mark,
        reverse("audit:seals"),
        state.number,
        state.number,
    )


def _changes(record: AuditEntry) -> list[Change]:
    """With names beside numbers, where they were fetched with the rows."""
    found: list[Change] | None = getattr(record, "named_changes", None)
    return changes_of(record) if found is None else found


def _clip(text: str) -> str:
    return f"{text[: CLIPPED - 1]}…" if len(text) > CLIPPED else text


class AuditTable(tables.Table):
    """Entries, newest first. Only the time sorts: it is the order in which things were done."""

    timestamp = tables.Column(verbose_name="When", attrs={"td": {"class": "nowrap"}})
    actor = tables.Column(verbose_name="Who", orderable=False)
    what = tables.Column(
        verbose_name="What",
        accessor="object_repr",
        orderable=False,
        attrs={"td": {"class": "main"}},
        empty_values=(),
    )
    changes = tables.Column(verbose_name="Before → after", orderable=False, empty_values=())
    reason = tables.Column(verbose_name="Why", orderable=False, empty_values=())
    remote_addr = tables.Column(
        verbose_name="From", orderable=False, empty_values=(), attrs={"td": {"class": "mono"}}
    )
    seal = tables.Column(
        verbose_name="Seal",
        orderable=False,
        empty_values=(),
        accessor="seal_state",
        attrs={"td": {"class": "state"}},
    )
    #: For the CSV, which has room.
    event = tables.Column(visible=False)
    under = tables.Column(visible=False)
    action = tables.Column(visible=False)
    model = tables.Column(visible=False, accessor="content_type__model", empty_values=())
    object_pk = tables.Column(visible=False)
    via = tables.Column(visible=False)
    operation_id = tables.Column(visible=False)
    cid = tables.Column(verbose_name="Request", visible=False)

    class Meta:
        model = AuditEntry
        fields: tuple[str, ...] = ()

    def render_timestamp(self, record: AuditEntry) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("audit:entry", args=[record.pk]), at(record.timestamp, "datetime")
        )

    def value_timestamp(self, record: AuditEntry) -> str:
        return str(record.timestamp.isoformat())

    def render_actor(self, record: AuditEntry) -> SafeString:
        under = f" · {record.under}" if record.under else ""
        return format_html("{}<small>{}{}</small>", record.actor, record.via, under)

    def value_actor(self, record: AuditEntry) -> str:
        return str(record.actor.username)

    def render_what(self, record: AuditEntry) -> SafeString:
        told = record.action == AuditEntry.Action.ACCESS
        did = (
            EventKind(record.event).label
            if told and record.event in EventKind
            else record.get_action_display()
        )
        url = "" if record.event in TOLD else object_url(record.content_type, record.object_id)
        name = format_html('<a href="{}">{}</a>', url, record.object_repr) if url else record.object_repr
        kind = "" if record.event in TOLD else record.content_type.name
        return format_html("<b>{}</b> {}<small>{}</small>", did, name, kind)

    def value_what(self, record: AuditEntry) -> str:
        return str(record.object_repr)

    def render_changes(self, record: AuditEntry) -> SafeString:
        found = _changes(record)
        lines = format_html_join(
            "",
            "<div>{}: {} → {}</div>",
            ((c.name, _clip(c.before) or "–", _clip(c.after) or "–") for c in found[:SHOWN]),
        )
        more = (
            format_html('<div class="faint">and {} more</div>', len(found) - SHOWN)
            if len(found) > SHOWN
            else ""
        )
        return format_html("{}{}", lines, more)

    def value_changes(self, record: AuditEntry) -> str:
        return "; ".join(f"{c.name}: {c.before} → {c.after}" for c in _changes(record))

    def render_reason(self, record: AuditEntry) -> SafeString:
        url = operation_url(record.operation_id)
        link = (
            format_html('<small><a href="{}">operation {}</a></small>', url, record.operation_id)
            if url
            else ""
        )
        return format_html("{}{}", record.reason or "–", link)

    def value_reason(self, record: AuditEntry) -> str:
        return record.reason

    def render_remote_addr(self, record: AuditEntry) -> SafeString:
        url = f"{reverse('audit:list')}?request_id={record.cid}"
        link = format_html('<small><a href="{}">{}</a></small>', url, record.cid[:8]) if record.cid else ""
        return format_html("{}{}", record.remote_addr or "–", link)

    def value_remote_addr(self, record: AuditEntry) -> str:
        return record.remote_addr or ""

    def render_seal(self, record: AuditEntry) -> SafeString:
        return seal_tag(record.seal_state)

    def value_seal(self, record: AuditEntry) -> str:
        state = record.seal_state
        return f"#{state.number} {state.text}" if state.number else str(state.text)

    def render_model(self, record: AuditEntry) -> str:
        return str(record.content_type.model)
