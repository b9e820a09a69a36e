"""A small server that speaks Loki's query API over lines in memory: stream selectors, line filters, ranges, both directions."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TEXT = r'"((?:[^"\\]|\\.)*)"'


def plain(text: str) -> str:
    return str(json.loads(f'"{text}"'))


class Lokis:
    """Lines by stream, and what was asked."""

    def __init__(self) -> None:
        self.lines: list[tuple[dict[str, str], int, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.failing = ""

    def write(self, at: int, text: str, **labels: str) -> None:
        self.lines.append((labels, at, text))

    def query_range(self, asked: dict[str, str]) -> dict[str, Any]:
        head = re.fullmatch(rf"\{{((?:\w+={TEXT},?)+)\}}((?: \|= {TEXT})*)", asked["query"])
        if head is None:
            raise ValueError(f"parse error in {asked['query']}")
        wanted = {name: plain(value) for name, value in re.findall(rf"(\w+)={TEXT}", head[1])}
        holds = [plain(value) for value in re.findall(rf"\|= {TEXT}", head[3])]
        start, end, limit = int(asked["start"]), int(asked["end"]), int(asked["limit"])
        found = [
            (labels, at, text)
            for labels, at, text in self.lines
            if wanted.items() <= labels.items() and start <= at < end and all(h in text for h in holds)
        ]
        found.sort(key=lambda row: row[1], reverse=asked["direction"] == "backward")
        streams: dict[str, Any] = {}
        for labels, at, text in found[:limit]:
            stream = streams.setdefault(json.dumps(labels), {"stream": labels, "values": []})
            stream["values"].append([str(at), text])
        return {"status": "success", "data": {"resultType": "streams", "result": list(streams.values())}}


@contextmanager
def serving() -> Iterator[tuple[Lokis, str, ThreadingHTTPServer]]:
    """The lines, and the address they are served at."""
    kept = Lokis()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            kept.asked.append(
                {"path": parts.path, **asked, **{k.lower(): v for k, v in self.headers.items()}}
            )
            status = 200
            try:
                if kept.failing:
                    raise ValueError(kept.failing)
                if parts.path == "/loki/api/v1/labels":
                    answer: Any = {"status": "success", "data": ["daytwo_instance"]}
                else:
                    answer = kept.query_range(asked)
            except ValueError as error:
                status, answer = 400, {"status": "error", "error": str(error)}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept, f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
