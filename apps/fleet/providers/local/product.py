"""The product that a local instance runs: one file, standard library only, copied into each version's directory.

    python -I -S app.py INSTANCE_DIR GENERATION

Reads `manifest.json` beside itself (version, fault) and `instance.json` in INSTANCE_DIR (name, port, tenants,
config), serves HTTPS on 127.0.0.1 and writes `log.jsonl`. SIGTERM: answers what is in hand, then ends.
"""

import contextlib
import json
import os
import random
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import FileIO
from typing import Any

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RECENT_SECONDS = 60.0
IDLE_SECONDS = 90.0  # a kept-alive connection; longer than any monitor's interval


class Log:
    """JSON lines with rotation by size: `log.jsonl`, then `log.<segment>.jsonl`, the oldest removed.

    The first line of each file is its segment number, so that a reader's place survives the renames.
    """

    def __init__(self, directory: str, max_bytes: int, keep: int = 3) -> None:
        self.directory, self.max_bytes, self.keep = directory, max_bytes, keep
        self.path = os.path.join(directory, "log.jsonl")
        self.lock = threading.Lock()
        self.failed = 0
        self.file: FileIO | None = None

    def write(self, level: str, message: str, **more: object) -> None:
        """Never raises: a full disk must not fail a customer's request; the lost lines are counted."""
        now = time.time()
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = json.dumps({"at": at, "level": level, "message": message, **more}) + "\n"
        with self.lock:
            try:
                file = self.file
                if file is None or file.tell() > self.max_bytes:
                    file = self._turn()
                file.write(line.encode())
            except OSError:
                self.failed += 1

    def _turn(self) -> FileIO:
        segment = max(self._segments(), default=0) + 1
        if self.file is not None:
            self.file.close()
            self.file = None
            os.replace(self.path, os.path.join(self.directory, f"log.{segment}.jsonl"))
            segment += 1
            for old in sorted(self._segments())[: -self.keep]:
                os.unlink(os.path.join(self.directory, f"log.{old}.jsonl"))
        file = FileIO(self.path, "ab")
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            file.write(json.dumps({"segment": segment}).encode() + b"\n")
        self.file = file
        return file

    def _segments(self) -> list[int]:
        names = (name.split(".") for name in os.listdir(self.directory) if name.startswith("log."))
        return [int(parts[1]) for parts in names if len(parts) == 3 and parts[1].isdigit()]


class Meter:
    """Counts requests per tenant and code, and how long they took."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.buckets: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=500)

    def count(self, tenant: str, code: int, seconds: float) -> None:
        with self.lock:
            self.requests[tenant, code] += 1
            self.sums[tenant] = self.sums.get(tenant, 0.0) + seconds
            row = self.buckets.setdefault(tenant, [0] * (len(BUCKETS) + 1))
            row[
                next(
                    (i for i, edge in enumerate(BUCKETS) if seconds <= edge),
                    len(BUCKETS),
                )
            ] += 1
            self.recent.append((time.monotonic(), code, seconds))

    def complaint(self) -> str:
        """What the last minute's visitors would say; empty while they are served well, or are too few to tell."""
        since = time.monotonic() - RECENT_SECONDS
        with self.lock:
            recent = [(code, seconds) for at, code, seconds in self.recent if at >= since]
        if len(recent) < 10:
            return ""
        failed = sum(code >= 500 for code, _ in recent) / len(recent)
        slow = sum(seconds > 0.5 for _, seconds in recent) / len(recent)
        if failed > 0.05:
            return f"{failed:.0%} of the last minute's requests failed"
        return f"{slow:.0%} of the last minute's requests took over 0.5 s" if slow > 0.05 else ""

    def lines(self) -> list[str]:
        """In the Prometheus text format."""
        lines = ["# TYPE http_requests_total counter"]
        with self.lock:
            for (tenant, code), count in sorted(self.requests.items()):
                lines.append(f'http_requests_total{{tenant="{tenant}",code="{code}"}} {count}')
            lines.append("# TYPE http_request_duration_seconds histogram")
            for tenant, row in sorted(self.buckets.items()):
                name, seen = "http_request_duration_seconds", 0
                for edge, count in zip([*map(str, BUCKETS), "+Inf"], row, strict=True):
                    seen += count
                    lines.append(f'{name}_bucket{{tenant="{tenant}",le="{edge}"}} {seen}')
                lines.append(f'{name}_sum{{tenant="{tenant}"}} {self.sums[tenant]:.6f}')
                lines.append(f'{name}_count{{tenant="{tenant}"}} {seen}')
        return lines


class Workers:
    """How many requests are in hand at once: as many as the instance may have, the others wait for their turn."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.read, self.busy, self.turn = read, 0, threading.Condition()

    def enter(self, seconds: float = 30.0) -> bool:
        """Wait for a turn; False when there was none in time."""
        until = time.monotonic() + seconds
        with self.turn:
            while self.busy >= self.read():
                if time.monotonic() > until:
                    return False
                self.turn.wait(0.25)  # not only when a turn ends: the number may be raised meanwhile
            self.busy += 1
        return True

    def leave(self) -> None:
        with self.turn:
            self.busy -= 1
            self.turn.notify()


class Product(ThreadingHTTPServer):
    """The server and what its requests share."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, directory: str, generation: int) -> None:
        self.directory, self.generation, self.started = (
            directory,
            generation,
            time.monotonic(),
        )
        self.instance_file = os.path.join(directory, "instance.json")
        self.instance: dict[str, Any] = {}
        self.instance_seen: int | None = None
        self.read_instance()
        manifest = os.path.join(os.path.dirname(os.path.abspath(__file__)), "manifest.json")
        with open(manifest) as file:
            self.manifest: dict[str, Any] = json.load(file)
        self.fault: dict[str, Any] = self.manifest.get("fault") or {
            "kind": "",
            "value": 0,
        }
        self.log = Log(directory, int(self.instance.get("config", {}).get("log_bytes", 2_000_000)))
        self.meter = Meter()
        self.workers = Workers(self.worker_count)
        self.busy, self.busy_lock = 0, threading.Lock()
        self.ending, self.end = os.pipe()
        self.certificate_seen: tuple[int, int] | None = None
        self.tls: ssl.SSLContext | None = None
        self.fresh_tls()
        super().__init__(("127.0.0.1", self.instance["port"]), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # the original asks DNS

    def read_instance(self) -> None:
        """Placements may change while it runs; a look costs one stat."""
        seen = os.stat(self.instance_file).st_mtime_ns
        if seen != self.instance_seen:
            with open(self.instance_file) as file:
                self.instance, self.instance_seen = json.load(file), seen

    def worker_count(self) -> int:
        """As wanted now: scaling needs no restart."""
        with contextlib.suppress(OSError, ValueError):
            self.read_instance()
        return max(1, int(self.instance.get("workers") or 16))

    def fresh_tls(self) -> ssl.SSLContext:
        """The context for the next handshake: a new one when the certificate's file has changed.

        Swapped whole. Loading into the live context would leave a moment with the new chain and the old key,
        in which a handshake fails. A file that cannot be loaded leaves the old certificate in service.
        """
        path = os.path.join(self.directory, "served.pem")
        stat = os.stat(path)
        seen = (stat.st_mtime_ns, stat.st_ino)
        if self.tls is not None and seen == self.certificate_seen:
            return self.tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            if self.tls is None:
                raise
            self.log.write(
                "error",
                f"the new certificate cannot be loaded, the old one stays: {error}",
            )
        else:
            if self.tls is not None:
                self.log.write("info", "new certificate in service")
            self.tls = context
        self.certificate_seen = seen
        return self.tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake holds up nobody else."""
        request.settimeout(5)
        tls = self.fresh_tls()
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError, TimeoutError),
            tls.wrap_socket(request, server_side=True) as secure,
        ):
            secure.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Handler(secure, client_address, self)

    def serve(self) -> None:
        """Until `end` is written to. `serve_forever` would wake twice a second to see whether to stop.

        Ends by itself when its directory is gone, seen in a quiet moment: nobody could ever stop it otherwise.
        """
        home_seconds = float(self.instance.get("config", {}).get("home_seconds", 15))
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self.ending, selectors.EVENT_READ)
            while True:
                ready = [key.fd for key, _ in selector.select(home_seconds)]
                if self.ending in ready or (not ready and not os.path.exists(self.instance_file)):
                    return
                if not ready:
                    continue
                with contextlib.suppress(OSError):
                    self.process_request(*self.get_request())

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.log.write("error", f"request failed: {sys.exc_info()[1]!r}")

    @contextlib.contextmanager
    def in_hand(self) -> Iterator[None]:
        with self.busy_lock:
            self.busy += 1
        try:
            yield
        finally:
            with self.busy_lock:
                self.busy -= 1

    def drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.busy and time.monotonic() < until:
            time.sleep(0.01)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    wbufsize = -1  # head and body in one TLS record
    server: Product

    def do_GET(self) -> None:
        with self.server.in_hand():
            if self.path == "/healthz":
                self.healthz()
            elif self.path == "/metrics":
                self.metrics()
            elif self.path.startswith("/t/"):
                if not self.server.workers.enter():
                    self.answer(503, b"too many requests in hand\n")
                    return
                try:
                    self.tenant()
                finally:
                    self.server.workers.leave()
            else:
                self.answer(404, b"not found\n")

    do_POST = do_GET

    def healthz(self) -> None:
        product = self.server
        ill = product.fault["kind"] == "unhealthy"
        body = {
            "status": "unhealthy" if ill else "ok",
            "detail": "the version's self-test fails" if ill else "",
            "degraded": product.meter.complaint(),
            "version": product.manifest["version"],
            "instance": product.instance["name"],
            "generation": product.generation,
            "uptime": round(time.monotonic() - product.started, 3),
        }
        self.answer(503 if ill else 200, json.dumps(body).encode(), "application/json")

    def metrics(self) -> None:
        product = self.server
        memory = 0
        with contextlib.suppress(OSError), open("/proc/self/statm") as statm:
            memory = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        lines = [
            *product.meter.lines(),
            "# TYPE process_cpu_seconds_total counter",
            f"process_cpu_seconds_total {time.process_time():.3f}",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {memory}",
            "# TYPE process_uptime_seconds gauge",
            f"process_uptime_seconds {time.monotonic() - product.started:.3f}",
            "# TYPE log_lines_lost_total counter",
            f"log_lines_lost_total {product.log.failed}",
            "# TYPE workers gauge",
            f"workers {product.worker_count()}",
            "# TYPE workers_busy gauge",
            f"workers_busy {product.workers.busy}",
            "# TYPE build_info gauge",
            f'build_info{{version="{product.manifest["version"]}"}} 1',
        ]
        self.answer(200, ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4")

    def tenant(self) -> None:
        began = time.perf_counter()
        product, fault = self.server, self.server.fault
        asked = self.path.split("/", 3)[2].partition("?")[0]
        product.read_instance()
        known = asked in product.instance.get("tenants", ())
        request_id = (self.headers.get("X-Request-ID") or os.urandom(8).hex())[:64]
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1_000_000))
        if fault["kind"] == "slow":
            time.sleep(fault["value"])
        code = 200 if known else 404
        if known and fault["kind"] == "errors" and random.random() < fault["value"]:  # noqa: S311 (dice)
            code = 500
        digest = asked.encode()
        for _ in range(200):  # a little work, so that CPU time follows the requests
            digest = sha256(digest).digest()
        body = {
            "tenant": asked,
            "request_id": request_id,
            "status": code,
            "result": digest.hex()[:12],
        }
        self.answer(code, json.dumps(body).encode(), "application/json", request_id)
        seconds = time.perf_counter() - began
        # An unknown name is not a label: anyone could fill the memory with them.
        product.meter.count(asked if known else "unknown", code, seconds)
        level = "error" if code >= 500 else "warning" if code >= 400 else "info"
        product.log.write(
            level,
            f"{self.command} {self.path[:200]} {code}",
            tenant=asked if known else "",
            request_id=request_id,
            code=code,
            ms=round(seconds * 1000, 2),
        )

    def answer(self, code: int, body: bytes, kind: str = "text/plain", request_id: str = "") -> None:
        self.send_response_only(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if request_id:
            self.send_header("X-Request-ID", request_id)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The tenant's requests are logged by `tenant`; probes are not worth a line."""


def main(argv: list[str]) -> None:
    """Serve until SIGTERM."""
    directory, generation = argv[0], int(argv[1])
    product = Product(directory, generation)
    version, fault = product.manifest["version"], product.fault
    product.log.write("info", f"started version {version}, boot {generation}, pid {os.getpid()}")

    def crash() -> None:
        product.log.write("critical", f"version {version} crashed: ordered fault {fault['kind']}")
        sys.stderr.write(f"fatal: version {version} crashed (ordered fault {fault['kind']})\n")
        sys.stderr.flush()
        os._exit(70)

    if fault["kind"] in ("crash", "crash_later"):
        timer = threading.Timer(fault["value"], crash)
        timer.daemon = True
        timer.start()

    def stop(*_: object) -> None:
        os.write(product.end, b".")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    product.serve()
    product.socket.close()
    product.drain(2.0)
    product.log.write("info", f"stopped on request, version {version}, boot {generation}")


if __name__ == "__main__":
    main(sys.argv[1:])
