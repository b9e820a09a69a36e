"""The tags that lists are drawn with."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import django_tables2 as tables
import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import timezone

from apps.core.templatetags import ui

EVIL = "<script>\"&'"


def render(source: str, path: str = "/", **context: Any) -> str:
    return Template(source).render(Context({"request": RequestFactory().get(path), **context}))


def test_a_status_has_a_shape_a_colour_and_a_word() -> None:
    assert render("{% status 'failing' %}") == (
        '<span class="st bad"><i class="sh b" aria-hidden="true"></i>failing</span>'
    )


def test_no_two_tones_share_a_shape() -> None:
    shapes: dict[str, set[str]] = {}
    for tone, shape, _ in ui.STATUS.values():
        shapes.setdefault(shape, set()).add(tone)
    # The ring turns under way and on another try; the broken ring is for what nobody knows.
    assert {shape for shape, tones in shapes.items() if len(tones) > 1} <= {"u", "q"}


def test_a_state_that_nobody_described_is_shown_as_it_is() -> None:
    assert "half_done".replace("_", " ") in ui.status("half_done")


@pytest.mark.parametrize(
    "source",
    [
        "{% status evil %}",
        "{% status 'well' label=evil note=evil %}",
        "{% dot 'well' label=evil %}",
        "{% tag 'bad' evil %}",
        "{% ago none empty=evil %}",
        "{% at none empty=evil %}",
        "{% meter 1 2 label=evil %}",
        "{% shares parts label=evil %}",
        "{% squares dots %}",
        "<i{% attrs mapping %}>",
    ],
)
def test_what_comes_from_outside_is_escaped(source: str) -> None:
    drawn = render(
        source,
        evil=EVIL,
        none=None,
        parts=[(EVIL, EVIL, 3)],
        dots=[SimpleNamespace(id=1, name=EVIL, state=EVIL)],
        mapping={"title": EVIL},
    )
    assert "<script" not in drawn
    assert "\"&'" not in drawn


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (41, "41 s ago"),
        (240, "4 min ago"),
        (7_300, "2 h ago"),
        (-90, "in 1 min"),
        (200_000, "2 d ago"),
    ],
)
def test_ago_speaks_in_the_largest_unit(seconds: int, words: str) -> None:
    at = timezone.now() - timedelta(seconds=seconds)
    assert f">{words}</time>" in ui.ago(at)


def test_times_carry_the_moment_for_machines() -> None:
    at = datetime(2026, 11, 24, 9, 41, 22, tzinfo=UTC)
    assert ui.at(at, "time") == (
        '<time datetime="2026-11-24T09:41:22Z" data-at="time" title="24 Nov 2026 09:41:22 UTC">09:41</time>'
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.04, "40 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (200, "3 min 20 s"),
        (187_200, "2 d 4 h"),
        (3_600, "1 h"),
    ],
)
def test_durations(value: float | None, words: str) -> None:
    assert ui.duration(value) == words


def test_counts_have_their_plural() -> None:
    assert [
        ui.count(1, "retry", "retries"),
        ui.count(2, "retry", "retries"),
        ui.count(1_204, "operation"),
    ] == [
        "1 retry",
        "2 retries",
        "1,204 operations",
    ]


def test_qs_replaces_and_removes() -> None:
    assert render("{% qs page=2 q=None %}", "/?q=a&sort=-name&page=9") == "?sort=-name&amp;page=2"


def test_shares_draw_each_state_in_a_known_order_and_never_past_the_end() -> None:
    drawn = str(ui.shares({"failing": 1, "well": 100_000}))
    assert drawn.index("f-ok") < drawn.index("f-bad")
    widths = [float(part.split('"')[0]) for part in drawn.split(' width="')[1:]]
    assert sum(widths) <= 100
    assert min(widths) > 0
    assert "100,000 well, 1 failing" in drawn


def test_a_meter_without_a_total_is_empty() -> None:
    assert "<rect" not in ui.meter(3, 0)


class SampleTable(tables.Table):
    select = tables.CheckBoxColumn(accessor="pk", orderable=False)
    name = tables.Column()
    size = tables.Column(attrs={"td": {"class": "r"}})


class Row:
    _meta = SimpleNamespace(model_name="row")

    def __init__(self, pk: int, name: str, size: int) -> None:
        self.pk, self.name, self.size = pk, name, size

    def __str__(self) -> str:
        return self.name


def sample(path: str = "/?sort=-name&page=3") -> tuple[str, str]:
    request = RequestFactory().get(path)
    table = SampleTable([Row(7, EVIL, 12)], order_by=request.GET.getlist("sort"))
    context = Context({"request": request, "table": table})
    return Template("{% table_head table %}").render(context), Template("{% table_rows table %}").render(
        context
    )


def test_a_header_says_how_it_is_sorted_and_sorts_the_other_way() -> None:
    head, _ = sample()
    assert 'aria-sort="descending"' in head
    assert 'href="?sort=name"' in head  # back on the first page


def test_rows_can_be_ticked_folded_and_are_escaped() -> None:
    _, rows = sample()
    assert '<tr id="row-7"' in rows
    assert 'name="selected" value="7" form="bulk"' in rows
    assert '<td class="main" data-label="Name">' in rows
    assert '<td class="n r" data-label="Size">12</td>' in rows
    assert "<script" not in rows
