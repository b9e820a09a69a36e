"""Asks a running instance over HTTPS, with one kept-alive client per process."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from ..base import Observation, ProviderTimeout, ProviderUnavailable, ServedCertificate
from .authority import described
from .files import Boot, Record
from .process import is_suspended

# Connect, TLS and read each have their own clock: together under the 2 s that observe promises.
_TIMEOUT = httpx.Timeout(connect=0.5, read=0.8, write=0.3, pool=0.3)
_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=60)
STARTING_SECONDS = 10.0


class Prober:
    """One client for all instances. A forked worker gets its own: TLS sessions must not be shared.

    `since` tells when what is trusted has changed: then the next question is asked by a new client.
    """

    def __init__(self, trust: Callable[[], ssl.SSLContext], since: Callable[[], int] = lambda: 0) -> None:
        self._trust, self._since = trust, since
        self._lock = threading.Lock()
        self._client: tuple[tuple[int, int], httpx.Client] | None = None

    def observe(self, record: Record, boot: Boot) -> Observation:
        """Of a process that is alive; never raises, returns within 2 s."""
        try:
            answer = self.get(record.port, "/healthz")
            body = answer.json()
            if body.get("instance") != record.name or body.get("generation") != boot.generation:
                return _seen(
                    record,
                    boot,
                    detail=f"port {record.port} is answered by {body.get('instance')!r}, not by it",
                )
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            return self._silent(record, boot, error)
        detail = str(body.get("detail") or body.get("degraded") or "")
        healthy = answer.status_code == 200
        return _seen(
            record, boot, healthy=healthy, detail=detail, degraded=healthy and bool(body.get("degraded"))
        )

    def serves(self, record: Record, tenant: str) -> bool:
        """Whether a request of the tenant is answered well; never raises."""
        try:
            return self.get(record.port, f"/t/{tenant}/").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, port: int, path: str, **more: Any) -> httpx.Response:
        """One GET; again once when a kept-alive connection turned out to be closed. Raises httpx.HTTPError."""
        url = f"https://127.0.0.1:{port}{path}"
        try:
            return self._http().get(url, **more)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return self._http().get(url, **more)

    def _silent(self, record: Record, boot: Boot, error: Exception) -> Observation:
        if is_suspended(boot.pid):
            return _seen(record, boot, detail=f"process {boot.pid} is suspended (SIGSTOP); restart it")
        refused = isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" not in str(error)
        if refused and time.time() - boot.started < STARTING_SECONDS:
            return _seen(record, boot, starting=True, detail="starting")
        return _seen(record, boot, detail=f"process {boot.pid} runs and {_why(error)}")

    def _http(self) -> httpx.Client:
        with self._lock:
            mine = os.getpid(), self._since()
            if self._client is None or self._client[0] != mine:
                # The old one is not closed: another thread may be in the middle of a question.
                client = httpx.Client(verify=self._trust(), timeout=_TIMEOUT, limits=_LIMITS, trust_env=False)
                self._client = mine, client
            return self._client[1]


def handshake(record: Record) -> ServedCertificate:
    """The certificate that a new visitor gets now; trusted or not. Raises ProviderUnavailable, ProviderTimeout."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", record.port), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=record.name) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    except TimeoutError as error:
        raise ProviderTimeout(f"{record.name} did not finish a handshake in 1 s; restart it") from error
    except OSError as error:
        raise ProviderUnavailable(
            f"{record.name} gives no handshake ({error}); see whether it runs"
        ) from error
    if der is None:
        raise ProviderUnavailable(f"{record.name} sent no certificate; see its log")
    return described(der)


def _seen(
    record: Record,
    boot: Boot,
    *,
    healthy: bool = False,
    starting: bool = False,
    degraded: bool = False,
    detail: str = "",
) -> Observation:
    return Observation(
        state="starting" if starting else "running",
        healthy=healthy,
        version=boot.version,
        generation=boot.generation,
        detail=detail,
        endpoint=endpoint(record),
        degraded=degraded,
    )


def endpoint(record: Record) -> str:
    """Where it serves."""
    return f"https://127.0.0.1:{record.port}"


def _why(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            f"its certificate is not trusted: {str(error).rpartition('failed: ')[2].partition(' (_ssl')[0]}"
        )
    return f"answers wrongly ({str(error) or type(error).__name__})"
