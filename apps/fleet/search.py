"""⌘K over instances and cells: what begins with the text, holds it, or resembles it. Names are lower-case by rule.

Scores are those of the tenants' lookup, so that hits of both rank together: 1 exact, 0.85 begins, 0.7 holds,
below 0.6 resembles.
"""

from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.search import TrigramWordSimilarity
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, FloatField, Q, QuerySet, Value
from django.db.models.functions import Upper
from django.urls import reverse

from apps.access.scoping import visible
from apps.core.palette import Hit

from .choices import Health
from .models import Cell, Instance

#: From so many letters on the text may stand anywhere, and from so many it may be mistyped.
ANYWHERE_FROM, SIMILAR_FROM = 3, 4
LARGEST_ID = 2**63 - 1
#: The planner takes LIKE and %> for cheaper to test than they are, and would read the table whole.
SETTINGS = (
    "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL pg_trgm.word_similarity_threshold = {}; "
)


def find_instances(user: Any, text: str, limit: int) -> list[Hit]:
    """Visible instances by name or id, best first; three statements at most."""
    text = text.strip().lower()
    rows = visible(user, Instance).order_by()
    begins = _pointed(rows.filter(name__startswith=text), 0.85)[:limit]
    # The one of this name may stand behind a hundred that only begin with it.
    hits = _run(_pointed(rows.filter(_named(text)), 1.0)[:limit].union(begins, all=True), text)
    if len(hits) < limit and len(text) >= ANYWHERE_FROM:
        hits += _run(_pointed(rows.filter(name__icontains=text), 0.7)[:limit], text)
    if not hits and len(text) >= SIMILAR_FROM:
        hits += _run(_pointed(_similar(rows, text), None)[:limit], text)
    return _best(hits, limit)


def _threshold(text: str) -> float:
    """How alike is alike enough: one typing error takes less from a long text than from a short one.

    In a fleet whose names all begin alike, less than 0.6 for a long text would find every one of them.
    """
    return 0.45 if len(text) < 8 else 0.6


def find_cells(user: Any, text: str, limit: int) -> list[Hit]:
    """Visible cells by name or id, best first. There are few enough cells to be read whole: one statement."""
    text = text.strip().lower()
    wanted = _named(text) | Q(name__icontains=text)
    if len(text) >= SIMILAR_FROM:
        wanted |= Q(score__gte=0.4)
    rows: QuerySet[Any] = visible(user, Cell.objects.annotate(score=TrigramWordSimilarity(text, "name")))
    found = rows.filter(wanted).select_related("region__account").order_by("-score", "name")[:limit]
    return _best([_cell_hit(cell, text) for cell in found], limit)


def _cell_hit(cell: Any, text: str) -> Hit:
    at = cell.name.find(text)
    score = 1.0 if cell.name == text else 0.85 if at == 0 else 0.7 if at > 0 else 0.59 * float(cell.score)
    detail = f"{cell.region.account.name} · {cell.region.code}"
    return Hit("Cell", cell.name, reverse("fleet:cell", args=[cell.pk]), detail, score)


def _named(text: str) -> Q:
    """Exactly this name, or this id: 4711 or #4711."""
    digits = text.removeprefix("#")
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    return Q(name=text) | Q(pk=number) if 0 < number <= LARGEST_ID else Q(name=text)


def _similar(rows: QuerySet[Instance], text: str) -> QuerySet[Instance]:
    """What resembles the text, by the trigram index on the upper-case name."""
    like = TrigramWordSimilarity(text.upper(), Upper("name"))
    return (
        rows.annotate(upper=Upper("name"), like=like)
        .filter(upper__trigram_word_similar=text.upper())
        .order_by("-like")
    )


def _pointed(rows: QuerySet[Instance], score: float | None) -> QuerySet[Any, Any]:
    """What a hit is made of, with its score; None: the similarity scaled below what any better match has."""
    points: Any = F("like") * 0.59 if score is None else Value(score, FloatField())
    return rows.annotate(points=points).values_list("pk", "name", "cell__name", "health", "points")


def _run(rows: QuerySet[Any, Any], text: str) -> list[Hit]:
    """The hits, with settings that end with the statement, in one trip."""
    try:
        sql, params = rows.query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS.format(_threshold(text)) + sql, params)
        while cursor.nextset():
            pass
        return [_hit(*row) for row in cursor.fetchall()]


def _hit(pk: int, name: str, cell: str, health: str, points: float) -> Hit:
    detail = f"{cell} · {Health(health).label.lower()}"
    return Hit("Instance", name, reverse("fleet:instance", args=[pk]), detail, float(points))


def _best(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """Each once, with its best score; best first, then by name."""
    once: dict[str, Hit] = {}
    for hit in hits:
        if hit.url not in once or once[hit.url].score < hit.score:
            once[hit.url] = hit
    return sorted(once.values(), key=lambda hit: (-hit.score, hit.label))[:limit]
