"""Finding a tenant by whatever the caller knows of it, with a typing error in it.

Two statements at most. The first finds what begins with the text (by the ordered indexes of migration 0002)
and, where that gives too little, what holds it (by trigrams). Only when that gives too little too, the
second finds what resembles it. Every part asks `visible` before it takes its share, so that what a reader
may not see never uses up a place. Text goes in as parameters; no regular expression is made of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from apps.access.scoped import Reader, reader_of, scoped
from apps.access.scoping import scopes_of, visible
from apps.core.compiled import Compiled, one_of

from .models import Tenant

MAX_LENGTH = 100
#: From so many letters on the text may stand anywhere, and from so many it may be mistyped.
#: (Trigrams are made of letters and digits: without three in a row no index helps to look anywhere.)
ANYWHERE_FROM, SIMILAR_FROM = 3, 4
#: With so many found as typed, nothing is guessed.
ENOUGH = 5
GUESSES = 8
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of text by which a tenant is known: a column, with the two indexes that serve it.

    `table` is a FROM clause; `text`, `tenant`, `key` are expressions over it. `gin` has a `gin_trgm_ops`
    index on its upper case; `ordered` has one of `text_pattern_ops` and holds text in the case that `fold`
    gives. `rows` narrows to what a user may see, by `key`; without it the tenant's own visibility decides.
    `own_id`: an expression that a number may equal, too.
    """

    word: str
    table: str
    text: str
    tenant: str
    ordered: str = ""
    fold: str = "UPPER"
    own_id: str = ""
    key: str = ""
    rows: Callable[[Any], QuerySet[Any]] | None = None


def _part(word: str, table: str, column: str) -> Source:
    return Source(word, f"{table} x", f"x.{column}", "x.tenant_id")


_sources: dict[str, Source] = {
    source.word: source
    for source in (
        Source("name", "tenants_tenant x", "x.name", "x.id", own_id="x.id"),
        Source("key", "tenants_tenant x", "x.key", "x.id", ordered="x.key", fold="LOWER"),
        _part("domain", "tenants_domain", "name"),
        _part("e-mail", "tenants_contact", "email"),
        _part("contact", "tenants_contact", "name"),
        _part("external id", "tenants_externalid", "value"),
    )
}


def register(source: Source) -> None:
    """Let tenants be found by one more kind of text (from the `registers.py` of a floor above)."""
    _sources[source.word] = source


@dataclass(frozen=True, slots=True)
class Found:
    """One tenant found: `matched` is the word for what matched and `text` what it reads; `score` is 0 to 1."""

    tenant_id: int
    name: str
    key: str
    state: str
    plan: str
    matched: str
    text: str
    score: float

    @property
    def is_exact(self) -> bool:
        """Whether the whole text matched."""
        return self.score > EXACT

    @property
    def is_guess(self) -> bool:
        """Whether it only resembles what was asked for."""
        return self.score < SIMILAR

    @property
    def why(self) -> str:
        """What matched, in words; empty where it was the name, which stands there anyway."""
        return "" if self.matched == "name" else f"{self.matched} {self.text}"


#: Where the classes of matches end: exact above the first, resembling below the second.
EXACT, SIMILAR = 0.96, 0.6

#: {weight}: of two equally good matches the one on the earlier source is told.
BEGINS = """(SELECT {rank} AS rank, {tenant} AS tenant_id, {text} AS text, {weight} + CASE
  WHEN UPPER({text}) = UPPER(%(text)s) THEN 1.0 ELSE 0.85 + 0.1 * %(length)s / GREATEST(LENGTH({text}), 1) END AS score
 FROM {table} WHERE {ordered} LIKE {fold}(%(prefix)s){seen} ORDER BY {ordered} USING ~<~ LIMIT %(share)s)"""
IS_ID = """(SELECT {rank} + 100, {tenant}, {own_id}::text, {weight} + 1.0
 FROM {table} WHERE {own_id} = %(number)s{seen} LIMIT %(share)s)"""
HOLDS = """(SELECT {rank}, {tenant}, {text}, {weight} + 0.7 + 0.1 * %(length)s / GREATEST(LENGTH({text}), 1)
 FROM {table} WHERE UPPER({text}) LIKE UPPER(%(anywhere)s) AND (SELECT n FROM enough) < %(limit)s{seen} LIMIT %(share)s)"""
#: The inner limit bounds what a text costs that resembles half of the table, such as “example.com”.
RESEMBLES = """(SELECT {rank} AS rank, tenant_id, text, {weight} + 0.5 * word_similarity(UPPER(%(text)s), UPPER(text))
  + 0.09 * LEAST(LENGTH(text), %(length)s) / GREATEST(LENGTH(text), %(length)s, 1) AS score
 FROM (SELECT {tenant} AS tenant_id, {text} AS text
   FROM {table} WHERE UPPER({text}) %%> UPPER(%(text)s){seen} LIMIT 2000) x
 ORDER BY score DESC LIMIT %(share)s)"""
BEST = """best AS (SELECT DISTINCT ON (tenant_id) * FROM hits ORDER BY tenant_id, score DESC, rank)
SELECT b.tenant_id, t.name, t.key, t.state, COALESCE(p.name, ''), b.rank, b.text, b.score
FROM best b JOIN tenants_tenant t ON t.id = b.tenant_id
LEFT JOIN tenants_subscription s ON s.tenant_id = t.id AND s.ends_on IS NULL
LEFT JOIN tenants_plan p ON p.id = s.plan_id
ORDER BY b.score DESC, b.rank, t.name, t.id LIMIT %(limit)s"""
#: The planner takes %> for cheaper to test than it is, and would read a table of this size, or an index whole.
SETTINGS = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL jit = off; "
    "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL pg_trgm.word_similarity_threshold = {};"
)


def clean(text: str) -> str:
    """The text as it is looked for: no NUL, single spaces, at most MAX_LENGTH characters."""
    return " ".join(text.replace("\x00", "").split())[:MAX_LENGTH].strip()


def lookup(user: Any, text: str, *, limit: int = 20) -> list[Found]:
    """The visible tenants that `text` may mean, best first: exact, then beginning, holding, resembling."""
    text = clean(text)
    if not text:
        return []
    try:
        if _sees_through_cells(user) and (found := _lookup_then_narrow(user, text, limit)) is not None:
            return found
        return _search(_Seen(user), text, limit)
    except EmptyResultSet:
        return []


def _search(seen: "_Seen", text: str, limit: int) -> list[Found]:
    sources = list(_sources.values())
    found = _run(_strict(sources, seen, text), sources, _params(text, limit))
    if _may_guess(text, found):
        known = {hit.tenant_id for hit in found}
        similar = _run(_similar(sources, seen, text), sources, _params(text, limit))
        found += [hit for hit in similar if hit.tenant_id not in known][:GUESSES]
    return found[:limit]


def _sees_through_cells(user: Any) -> bool:
    scopes = scopes_of(user, "view")
    return not scopes.everything and bool(scopes.accounts or scopes.cells)


def _lookup_then_narrow(user: Any, text: str, limit: int) -> list[Found] | None:
    """The best of all tenants, then of these the visible ones; None where that may have left one out.

    To collect every tenant that somebody sees through accounts takes longer than the whole search. Most such
    readers see most of what they look for, and then the few best hits are asked for one by one.
    """
    hits = _search(_Seen(user, narrow_tenants=False), text, limit)
    mine = _mine(user, ids=[hit.tenant_id for hit in hits]) if hits else []
    # Guesses beside a hidden hit, or a list cut at its end: what was cut off may have been the reader's.
    if len(mine) < len(hits):
        return None
    return hits


@scoped
def _mine(reader: Reader, *, ids: Any) -> QuerySet[Tenant, int]:
    return visible(reader, Tenant.objects.filter(pk=one_of(ids))).order_by().values_list("pk", flat=True)


def _may_guess(text: str, found: list[Found]) -> bool:
    """Whether what resembles the text is worth a look: not for a number, nor where enough was found as typed."""
    letters = sum(map(len, _words(text)))
    return (
        letters >= SIMILAR_FROM
        and _number(text) is None
        and len(found) < ENOUGH
        and not any(f.is_exact for f in found)
    )


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in text).split()


class _Seen:
    """What the user may see, as SQL conditions; empty for who sees everything. Raises EmptyResultSet for nothing."""

    def __init__(self, user: Any, *, narrow_tenants: bool = True) -> None:
        self.user = user
        self.narrow_tenants = narrow_tenants
        scopes = scopes_of(user, "view")
        self.everything = scopes.everything
        self.tenants = "" if self.everything or not narrow_tenants else _ids(visible, user, Tenant)
        #: Tenants seen through accounts and cells are collected once: planned into each part of the union, the
        #: joins to placements and instances took longer to plan than to run. A few tenants by id are cheaper there.
        self.shared = ""
        if narrow_tenants and (scopes.accounts or scopes.cells):
            self.shared = f"mine (tenant_id) AS MATERIALIZED ({self.tenants}), "
            self.tenants = "SELECT mine.tenant_id FROM mine"

    def condition(self, source: Source) -> str:
        """The end of a WHERE clause for one source."""
        if self.everything:
            return ""
        if source.rows is None:
            return "" if not self.narrow_tenants else f" AND {source.tenant} IN ({self.tenants})"
        # OFFSET 0 keeps the planner from joining all that is visible: asked row by row, it is two index look-ups.
        rows = _ids(source.rows, self.user)
        return f" AND EXISTS (SELECT 1 FROM ({rows}) seen (key) WHERE seen.key = {source.key} OFFSET 0)"  # noqa: S608


def _ids(rows: Callable[..., QuerySet[Any]], user: Any, *more: Any) -> str:
    """A statement for the ids of what a user sees. Raises EmptyResultSet where that is nothing, whatever there is."""
    if not (statement := _ids_for(rows, reader_of(user), *more)):
        raise EmptyResultSet
    return statement


@lru_cache(maxsize=256)
def _ids_for(rows: Callable[..., QuerySet[Any]], reader: Reader, *more: Any) -> str:
    return Compiled(rows(reader, *more).order_by().values("pk")).statement


def _params(text: str, limit: int) -> dict[str, Any]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {
        "text": text,
        "length": len(text),
        "prefix": f"{escaped}%",
        "anywhere": f"%{escaped}%",
        "number": _number(text) or 0,
        "limit": limit,
        # Several texts of one tenant may match, and count once.
        "share": limit * 3,
    }


def _number(text: str) -> int | None:
    """The text as an id, if it may be one: 4711 or #4711."""
    digits = text.removeprefix("#")
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    return number if 0 < number <= LARGEST_ID else None


def _branch(template: str, source: Source, rank: int, seen: _Seen) -> str:
    return template.format(
        rank=rank,
        weight=-0.005 * rank,
        table=source.table,
        text=source.text,
        tenant=source.tenant,
        ordered=source.ordered or f"UPPER({source.text})",
        fold=source.fold,
        own_id=source.own_id,
        seen=seen.condition(source),
    )


def _strict(sources: list[Source], seen: _Seen, text: str) -> str:
    ranked = list(enumerate(sources))
    first = [_branch(BEGINS, source, rank, seen) for rank, source in ranked]
    if _number(text) is not None:
        first += [_branch(IS_ID, source, rank, seen) for rank, source in ranked if source.own_id]
    parts = [f"begins AS MATERIALIZED ({' UNION ALL '.join(first)})"]
    if max(map(len, _words(text)), default=0) >= ANYWHERE_FROM:
        holds = " UNION ALL ".join(_branch(HOLDS, source, rank, seen) for rank, source in ranked)
        parts.append("enough AS MATERIALIZED (SELECT count(DISTINCT tenant_id) AS n FROM begins)")
        parts.append(f"hits AS (SELECT * FROM begins UNION ALL {holds})")  # noqa: S608 - only our own words
    else:
        parts.append("hits AS (SELECT * FROM begins)")
    return f"{SETTINGS.format(_threshold(text))} WITH {seen.shared}{', '.join([*parts, BEST])}"


def _similar(sources: list[Source], seen: _Seen, text: str) -> str:
    branches = " UNION ALL ".join(
        _branch(RESEMBLES, source, rank, seen) for rank, source in enumerate(sources)
    )
    return f"{SETTINGS.format(_threshold(text))} WITH {seen.shared} hits AS ({branches}), {BEST}"


def _threshold(text: str) -> float:
    """How alike is alike enough: one typing error takes less from a long text than from a short one.

    pg_trgm counts shared groups of three letters; two letters swapped in a word of nine leave 0.43 of them,
    in one of four 0.25.
    """
    if len(text) < 6:
        return 0.25
    return 0.4 if len(text) < 12 else 0.55


def _run(sql: str, sources: list[Source], params: dict[str, Any]) -> list[Found]:
    """Rows of the last of several commands sent together: their SET LOCAL ends with them, and it is one trip."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        while cursor.nextset():
            pass
        rows = cursor.fetchall()
    return [
        Found(tenant_id, name, key, state, plan, _word(sources, rank), text, min(float(score), 1.0))
        for tenant_id, name, key, state, plan, rank, text, score in rows
    ]


def _word(sources: list[Source], rank: int) -> str:
    if rank < 100:
        return sources[rank].word
    word = sources[rank - 100].word
    return "id" if word == "name" else f"{word} id"
