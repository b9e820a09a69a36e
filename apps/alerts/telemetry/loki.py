"""Logs by LogQL. Format: https://grafana.com/docs/loki/latest/reference/loki-http-api/."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from apps.fleet.models import Instance
from apps.fleet.providers.base import LogLine, LogPage
from apps.fleet.query_api import Unanswered, ask, quoted

from ..models import TelemetrySource
from .prometheus import token_of

WHO = "Loki"
#: How far back the first page looks.
BACK = timedelta(hours=24)
#: Lines that one poll takes at most from one nanosecond on, those of that nanosecond included.
MOST = 5_000
NANO = 10**9


@dataclass(frozen=True, slots=True)
class Loki:
    """A store of logs (`fleet.queries.logs.Store`)."""

    source: TelemetrySource

    @property
    def words(self) -> str:
        """Where the lines come from."""
        return f"{self.source.name} ({urlsplit(self.source.loki_url).hostname})"

    def lines(
        self, instance: Instance, *, limit: int, after: str = "", tenant: str = "", holds: Sequence[str] = ()
    ) -> LogPage:
        """The last lines, or those since the cursor `after`; each holds all texts of `holds`. Raises Unanswered."""
        query = self._query(instance, tenant, holds)
        now = timezone.now() + timedelta(seconds=5)
        if not after:
            since = _nanos(now - BACK)
            rows = self._ask(query, since, _nanos(now), limit, "backward")
            return LogPage([_line(*row) for row in rows], _cursor(rows) or f"{_nanos(timezone.now())}:0")
        at, seen = _read_cursor(after)
        # From that very nanosecond on: others may have been written in it since. Those that were shown are left out.
        rows = self._ask(query, at, max(_nanos(now), at + 1), min(limit + seen, MOST), "forward")
        fresh = rows[sum(1 for row in rows[:seen] if row[0] == at) :]
        return LogPage([_line(*row) for row in fresh], _cursor(rows) if fresh else after)

    def _query(self, instance: Instance, tenant: str, holds: Sequence[str]) -> str:
        source, selector = self.source, [f"{self.source.instance_label}={quoted(instance.name)}"]
        texts = [text for text in holds if text]
        if tenant and source.tenant_label:
            selector.append(f"{source.tenant_label}={quoted(tenant)}")
        elif tenant:
            texts.append(tenant)
        return "".join([f"{{{','.join(selector)}}}", *(f" |= {quoted(text)}" for text in texts)])

    def _ask(
        self, query: str, since: int, until: int, limit: int, direction: str
    ) -> list[tuple[int, str, dict[str, Any]]]:
        source = self.source
        asked = {"query": query, "start": since, "end": until, "limit": limit, "direction": direction}
        data = ask(
            WHO, f"{source.loki_url}/loki/api/v1/query_range", asked, token=token_of(source.loki_token_sealed),
            org_id=source.org_id, method="GET",
        )  # fmt: skip
        if data.get("resultType") != "streams" or not isinstance(data.get("result"), list):
            raise Unanswered(f"{WHO} gave {data.get('resultType')!r:.30}; streams are expected.")
        try:
            rows = [
                (int(value[0]), str(value[1]), dict(stream["stream"]))
                for stream in data["result"]
                for value in stream["values"]
            ]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Unanswered(f"{WHO} gave streams that cannot be read.") from error
        # Streams come one after the other; a stable order, so that a cursor can count within a nanosecond.
        return sorted(rows, key=lambda row: row[0])


def _nanos(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000


def _cursor(rows: Sequence[tuple[int, str, dict[str, Any]]]) -> str:
    """The last nanosecond, and how many lines of it are known."""
    if not rows:
        return ""
    last = rows[-1][0]
    return f"{last}:{sum(1 for row in rows if row[0] == last)}"


def _read_cursor(text: str) -> tuple[int, int]:
    at, _, seen = text.partition(":")
    if not (
        at.isascii()
        and at.isdigit()
        and len(at) <= 19
        and seen.isascii()
        and seen.isdigit()
        and len(seen) <= 5
    ):
        raise Unanswered("The page's place in the log was lost: load it anew.")
    return int(at), int(seen)


def _line(at: int, text: str, labels: dict[str, Any]) -> LogLine:
    """A line; of one that is JSON, its parts."""
    said: dict[str, Any] = {}
    if text.startswith("{"):
        try:
            found = json.loads(text)
            said = found if isinstance(found, dict) else {}
        except (ValueError, RecursionError):
            said = {}

    def first(*names: str) -> str:
        return next((str(from_[n]) for n in names for from_ in (said, labels) if from_.get(n)), "")

    return LogLine(
        datetime.fromtimestamp(at / NANO, UTC), (first("level", "detected_level", "severity") or "info").lower()[:10],
        first("message", "msg") or text, first("tenant")[:63], first("request_id", "trace_id")[:64],
    )  # fmt: skip
