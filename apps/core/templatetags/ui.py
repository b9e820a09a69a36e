"""What lists draw by the hundred, as plain string work: status, times, numbers, meters, table rows.

Built into every template (see TEMPLATES in the settings), so nothing has to be loaded. Parts that are drawn
once a page are templates under `templates/components/`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import template
from django.core.exceptions import ObjectDoesNotExist
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


def _safe(html: str) -> SafeString:
    """HTML of this module's own making; whatever came from outside went through `_text`."""
    return mark_safe(html)  # noqa: S308


def _text(value: Any) -> str:
    """Anything as text that may stand in HTML, in an attribute too."""
    return conditional_escape(value)


#: Value → tone, shape, word. The shape is a class of app.css; the same pair never means two things.
STATUS: dict[str, tuple[str, str, str]] = {
    "well": ("ok", "", "well"),
    "failing": ("bad", "b", "failing"),
    "degraded": ("warn", "w", "degraded"),
    "starting": ("busy", "u", "starting"),
    "changing": ("busy", "u", "changing"),
    "stopped": ("idle", "o", "stopped"),
    "unknown": ("warn", "q", "unknown"),
    "awaiting_approval": ("warn", "w", "awaiting approval"),
    "pending": ("idle", "o", "waiting"),
    "running": ("busy", "u", "running"),
    "retrying": ("warn", "u", "retrying"),
    "succeeded": ("ok", "", "succeeded"),
    "failed": ("bad", "b", "failed"),
    "cancelled": ("idle", "o", "cancelled"),
    "done": ("ok", "", "done"),
    "skipped": ("idle", "o", "skipped"),
    "excluded": ("idle", "o", "excluded"),
    "to come": ("idle", "o", "to come"),
    "active": ("ok", "", "active"),
    "trial": ("busy", "u", "trial"),
    "suspended": ("warn", "w", "suspended"),
    "left": ("idle", "o", "left"),
    "draft": ("idle", "o", "draft"),
    "candidate": ("busy", "u", "candidate"),
    "released": ("ok", "", "released"),
    "preferred": ("ok", "", "preferred"),
    "deprecated": ("warn", "w", "deprecated"),
    "withdrawn": ("bad", "b", "withdrawn"),
    "paused": ("warn", "w", "paused"),
    "aborted": ("bad", "b", "aborted"),
    "rolling_back": ("warn", "u", "rolling back"),
    "rolled_back": ("warn", "w", "rolled back"),
    "planned": ("idle", "o", "to come"),
    "baking": ("busy", "u", "baking"),
    "passed": ("ok", "", "passed"),
    "pass": ("ok", "", "pass"),
    "fail": ("bad", "b", "fail"),
    "wait": ("busy", "u", "wait"),
    "waiting": ("idle", "o", "waiting"),
    "held": ("warn", "w", "held"),
    "returning": ("warn", "u", "going back"),
    "returned": ("warn", "w", "went back"),
    "stayed": ("bad", "b", "could not go back"),
    "critical": ("bad", "b", "critical"),
    "warning": ("warn", "w", "warning"),
    "info": ("busy", "u", "info"),
    "open": ("bad", "b", "open"),
    "resolved": ("ok", "", "resolved"),
    "bad": ("bad", "b", "bad"),
    "warn": ("warn", "w", "warning"),
    "ok": ("ok", "", "good"),
    "busy": ("busy", "u", "under way"),
    "plain": ("idle", "o", ""),
}
UNKNOWN_SHAPE = ("idle", "q")
PAGE_SIZES = (25, 50, 100, 200)
GLYPHS = {"bad": "●", "warn": "◆", "ok": "■", "busy": "↻", "idle": "○"}


def _known(value: object) -> tuple[str, str, str]:
    """Tone, shape and word of a state; one that nobody described is shown as it is."""
    name = str(value or "unknown")
    return STATUS.get(name) or (*UNKNOWN_SHAPE, name.replace("_", " "))


@register.simple_tag
def status(value: object, label: object = None, note: object = None) -> SafeString:
    """Shape, colour and word of a state. `label` replaces the word; `note` follows it, smaller."""
    tone, shape, word = _known(value)
    shown = _text(word if label is None else label)
    more = f" <small>{_text(note)}</small>" if note else ""
    return _safe(f'<span class="st {tone}"><i class="sh {shape}" aria-hidden="true"></i>{shown}{more}</span>')


@register.simple_tag
def dot(value: object, label: object = None) -> SafeString:
    """The shape alone; the word is there for screen readers and on hover."""
    _, shape, word = _known(value)
    shown = _text(word if label is None else label)
    return _safe(
        f'<i class="sh {shape}" title="{shown}" aria-hidden="true"></i><span class="vh">{shown}</span>'
    )


@register.simple_tag
def tag(tone: str, text: object, glyph: str | None = None) -> SafeString:
    """A tag in a tone: `bad`, `warn`, `ok`, `busy` or `idle`, with the tone's shape before the text."""
    shape = GLYPHS.get(tone, "") if glyph is None else glyph
    return format_html(
        '<span class="tag {}">{}{}</span>',
        tone,
        format_html('<span aria-hidden="true">{}</span>', shape) if shape else "",
        text,
    )


# --- Times and numbers ---------------------------------------------------------------------------

_AT = {"datetime": "%d %b %H:%M", "time": "%H:%M", "second": "%H:%M:%S", "date": "%d %b %Y"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if timezone.is_aware(at) else at.replace(tzinfo=UTC)


def _moment(at: datetime) -> tuple[str, str]:
    """A time for machines and for the tooltip."""
    at = _utc(at)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%d %b %Y %H:%M:%S UTC")


def spoken(seconds: float, parts: int = 1) -> str:
    """So many seconds in words, the largest units first: “4 min”, with two parts “3 min 20 s”."""
    left, words = round(seconds), list[str]()
    for size, unit in _UNITS:
        if left >= size or (size == 1 and not words):
            words.append(f"{left // size} {unit}")
            left %= size
        if len(words) == parts or (words and not left):
            break
    return " ".join(words)


@register.simple_tag
def ago(at: datetime | None, empty: str = "never") -> SafeString:
    """How long ago (or in how long); the script keeps it fresh."""
    if at is None:
        return format_html('<span class="faint">{}</span>', empty)
    seconds = (timezone.now() - _utc(at)).total_seconds()
    words = (
        "just now"
        if abs(seconds) < 1
        else f"{spoken(seconds)} ago"
        if seconds > 0
        else f"in {spoken(-seconds)}"
    )
    iso, full = _moment(at)
    return _safe(f'<time datetime="{iso}" data-rel title="{full}">{words}</time>')


@register.simple_tag
def at(value: datetime | date | None, form: str = "datetime", empty: str = "–") -> SafeString:
    """An absolute time: `datetime`, `time`, `second` or `date`; UTC until the script turns it into the reader's zone."""
    if value is None:
        return format_html('<span class="faint">{}</span>', empty)
    if not isinstance(value, datetime):
        return format_html('<time datetime="{}">{}</time>', value.isoformat(), value.strftime("%d %b %Y"))
    iso, full = _moment(value)
    words = _utc(value).strftime(_AT[form])
    return _safe(f'<time datetime="{iso}" data-at="{form}" title="{full}">{words}</time>')


@register.simple_tag
def duration(value: timedelta | float | None, empty: str = "–") -> str:
    """Seconds or a timedelta in words, two units at most; tenths under ten seconds, milliseconds under one."""
    if value is None:
        return empty
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else spoken(seconds, 2)


@register.simple_tag
def num(value: Any, places: int = 0) -> str:
    """A number with thousands separated: 81,207."""
    return "–" if value is None else f"{value:,.{places}f}"


@register.simple_tag
def count(value: int, noun: str, nouns: str = "") -> str:
    """“1 operation”, “1,204 operations”; `nouns` where the plural is not made with an s."""
    return f"{value:,} {noun if value == 1 else nouns or noun + 's'}"


# --- Addresses and attributes --------------------------------------------------------------------


@register.simple_tag(takes_context=True)
def qs(context: template.Context, **changes: Any) -> str:
    """This page's query with keys replaced, or removed where the value is None; `?` alone when nothing is left."""
    query = context["request"].GET.copy()
    for key, value in changes.items():
        if value is None:
            query.pop(key, None)
        else:
            query[key] = str(value)
    return f"?{query.urlencode()}"


@register.simple_tag(takes_context=True)
def without(context: template.Context, *keys: str) -> str:
    """This page's query without some keys, whose names come from variables (see `qs`)."""
    return str(qs(context, **dict.fromkeys(keys)))


@register.simple_tag(takes_context=True)
def query_fields(context: template.Context, *leave_out: str) -> SafeString:
    """This page's query as hidden fields, so that a form by GET keeps what it does not ask for."""
    pairs = (
        (key, value)
        for key, values in context["request"].GET.lists()
        for value in values
        if key not in leave_out
    )
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', pairs)


@register.filter
def page_sizes(page: Any) -> tuple[int, ...]:
    """The rows on a page that a pager offers: none where the smallest holds everything (see `access.listing.PER_PAGE`)."""
    return PAGE_SIZES if page.paginator.count > PAGE_SIZES[0] else ()


@register.simple_tag
def attrs(mapping: Mapping[str, Any] | None) -> SafeString:
    """HTML attributes from a mapping; None and False are left out, True is the bare name."""
    given = ((k, v) for k, v in (mapping or {}).items() if v is not None and v is not False)
    return _safe("".join(f" {_text(k)}" if v is True else f' {_text(k)}="{_text(v)}"' for k, v in given))


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of static/icons.svg; decoration, so what carries it needs a text or an aria-label."""
    return format_html(
        '<svg class="ic" aria-hidden="true"><use href="{}#{}"></use></svg>', static("icons.svg"), name
    )


# --- Drawings ------------------------------------------------------------------------------------


def _widths(parts: Sequence[tuple[str, float]], total: float) -> list[tuple[str, float]]:
    """Parts as per cent of the total. None is under one per cent; what that adds is taken from the widest."""
    if total <= 0:
        return []
    widths = [max(min(100 * amount / total, 100.0), 1.0) for _, amount in parts]
    if widths and (over := sum(widths) - 100) > 0:
        widths[widths.index(max(widths))] -= over
    return [(tone, width) for (tone, _), width in zip(parts, widths, strict=True)]


def _bar(parts: Iterable[tuple[str, float]], total: float, label: str) -> SafeString:
    """An SVG bar of (tone, amount) parts. A part that is not nothing is at least one per cent wide."""
    left, rects = 0.0, []
    for tone, width in _widths([part for part in parts if part[1] > 0], total):
        rects.append(f'<rect x="{left:.2f}" width="{width:.2f}" height="8" class="f-{_text(tone)}"/>')
        left += width
    shown = _text(label)
    return _safe(
        f'<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{shown}"><title>{shown}</title>'
        f"{''.join(rects)}</svg>"
    )


@register.simple_tag
def meter(value: float | None, total: float = 100, tone: str = "", label: str = "") -> SafeString:
    """A bar of one share of a total. Without a tone: ok, from 85 % warn, from 95 % bad."""
    amount = float(value or 0)
    share = amount / total if total else 0.0
    return _bar(
        [(tone or ("bad" if share >= 0.95 else "warn" if share >= 0.85 else "ok"), amount)],
        total,
        f"{label} {share:.0%}".strip(),
    )


@register.simple_tag
def shares(parts: Mapping[str, int] | Sequence[Sequence[Any]], label: str = "") -> SafeString:
    """A bar of several: a mapping of state to count, or (state, word, count) triples in the order they are drawn."""
    triples = (
        [(state, _known(state)[2], n) for state, n in parts.items()]
        if isinstance(parts, Mapping)
        else [tuple(p) for p in parts]
    )
    order = list(STATUS)
    if isinstance(parts, Mapping):
        triples.sort(key=lambda part: order.index(part[0]) if part[0] in STATUS else len(order))
    words = ", ".join(f"{n:,} {word}" for _, word, n in triples if n)
    drawn = [("quiet" if state == "unknown" else _known(state)[0], n) for state, _, n in triples]
    return _bar(drawn, sum(n for _, _, n in triples), f"{label}: {words}" if label else words)


@register.simple_tag
def squares(dots: Iterable[Any], url_name: str = "") -> SafeString:
    """One square for each dot (`id`, `name`, `state`); a click opens `url_name` of its id.

    They are no links: hundreds of targets of 9 pixels would stand in the way of who goes by keyboard, and the
    row's own link leads to the same instances. The address is reversed once: a board has up to 2,000 squares.
    """
    pattern = _text(reverse(url_name, args=[0])) if url_name else ""
    drawn, seen = [], dict[str, int]()
    for one in dots:
        _, shape, word = _known(one.state)
        seen[word] = seen.get(word, 0) + 1
        title = f"{_text(one.name)}: {_text(word)}"
        kind = f' class="{shape}"' if shape else ""
        drawn.append(f'<i{kind} data-id="{one.id}" title="{title}"></i>')
    words = ", ".join(f"{n} {word}" for word, n in seen.items())
    return _safe(
        f'<div class="sq" data-url="{pattern}"><span class="vh">{_text(words)}</span>{"".join(drawn)}</div>'
    )


# --- Tables --------------------------------------------------------------------------------------


@register.simple_tag(takes_context=True)
def table_head(context: template.Context, table: Any) -> SafeString:
    """The header row of a django-tables2 table: links that sort, `aria-sort`, one box to tick all."""
    cells = []
    for column in table.columns:
        if column.name == "select":
            cells.append(TICK_ALL)
            continue
        kind = _td_class(column)
        align = ' class="r"' if "r" in kind.split() else ""
        if not column.orderable:
            cells.append(f'<th scope="col"{align}>{_text(column.header)}</th>')
            continue
        alias = column.order_by_alias
        sorted_ = (
            f' aria-sort="{"descending" if alias.is_descending else "ascending"}"'
            if column.is_ordered
            else ""
        )
        href = qs(context, **{table.prefixed_order_by_field: alias.next, table.prefixed_page_field: None})
        cells.append(
            f'<th scope="col"{align}{sorted_}><a href="{_text(href)}" data-part>{_text(column.header)}</a></th>'
        )
    return _safe("".join(cells))


TICK_ALL = (
    '<th class="tick" scope="col"><label data-text="Select all on this page"><span class="vh">Select all on this page</span>'
    '<input type="checkbox" data-tick-all form="none" autocomplete="off"></label></th>'
)


def _td_class(column: Any) -> str:
    """The class that a column declares for its cells; the same for each row, so it is asked for once."""
    declared = column.column.attrs.get("td", {}).get("class", "")
    return declared if isinstance(declared, str) else ""


def _td_opens(table: Any) -> list[tuple[str, str]]:
    """Each column's name and the opening tag of its cells."""
    columns = list(table.columns)
    has_main = any("main" in _td_class(column).split() for column in columns)
    opens = []
    for column in columns:
        kind = _td_class(column)
        if not has_main and column.name != "select":
            kind, has_main = f"main {kind}".strip(), True
        label = _text(column.header)
        opens.append(
            (
                column.name,
                f'<td class="{_text(kind)}" data-label="{label}">' if kind else f'<td data-label="{label}">',
            )
        )
    return opens


@register.simple_tag
def table_rows(table: Any) -> SafeString:
    """The rows of a django-tables2 table. Cells come from the table's own columns; attributes of cells are not asked for row by row."""
    opens, drawn = _td_opens(table), []
    own = {column.name: render for column in table.columns if (render := _of_record_alone(table, column))}
    for row in table.paginated_rows:
        drawn.append(f"<tr{_row_id(row.record)} {row.attrs.as_html()}>")
        for name, opening in opens:
            if name == "select":
                drawn.append(_tick(row.record))
            else:
                cell = _text(own[name](row.record) if name in own else row.get_cell(name)).strip()
                drawn.append(f"{_counting(opening) if cell.isdigit() else opening}{cell}</td>")
        drawn.append("</tr>")
    return _safe("".join(drawn))


def _of_record_alone(table: Any, column: Any) -> Callable[[Any], Any] | None:
    """How the table draws a cell of this column, when its function asks for the record alone; None: as django-tables2 does.

    django-tables2 asks `inspect` for the signature of the function anew for each cell, which is half of what a cell costs.
    """
    render = getattr(table, f"render_{column.name}", None)
    if render is None or column.link or list(inspect.signature(render).parameters) != ["record"]:
        return None
    empty, accessor = column.column.empty_values, column.accessor

    def draw(record: Any) -> Any:
        if empty:
            try:
                value = accessor.resolve(record)
            except (AttributeError, LookupError, TypeError, ValueError, ObjectDoesNotExist):
                value = None
            if value in empty:
                return column.default
        return render(record)

    return draw


def _counting(opening: str) -> str:
    """The opening tag of a cell that is a bare number, which says nothing at 390 px without its column's name."""
    return (
        opening.replace('<td class="', '<td class="n ', 1)
        if "class=" in opening
        else opening.replace("<td", '<td class="n"', 1)
    )


def _row_id(record: Any) -> str:
    """An id, so that a morph knows a row again that moved."""
    return f' id="{record._meta.model_name}-{record.pk}"' if hasattr(record, "_meta") else ""


def _tick(record: Any) -> str:
    return (
        f'<td class="tick"><label><span class="vh">Select {_text(record)}</span>'
        f'<input type="checkbox" name="selected" value="{record.pk}" form="bulk" autocomplete="off" data-tick></label></td>'
    )
