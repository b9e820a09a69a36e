"""What takes a batch of lines: a webhook, a syslog receiver. Each raises SinkError, which holds no secret."""

import hashlib
import hmac
import json
import os
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

import httpx

from .choices import EventKind, StreamKind
from .models import AuditStream

TIMEOUT = 10.0  # seconds, for each connection and answer
SYSLOG_PORT = {"syslog": 514, "syslog+tls": 6514}
#: Facility 13 is “log audit” (RFC 5424, 6.2.1); severities notice and warning.
NOTICE, WARNING = 13 * 8 + 5, 13 * 8 + 4
#: 32473 is the enterprise number that RFC 5612 keeps for documentation; Daytwo has none of its own.
SD_ID = "daytwo@32473"
LOUD = (EventKind.DENIED, EventKind.SIGN_IN_FAILED)


class SinkError(Exception):
    """The other side did not take the batch."""


def send(stream: AuditStream, lines: Sequence[bytes], seal: str) -> None:
    """Deliver the lines in order; returns once the other side has taken them all. Raises SinkError."""
    try:
        if stream.kind == StreamKind.WEBHOOK:
            _post(stream, lines, seal)
        else:
            _syslog(stream, lines)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise SinkError(f"{type(error).__name__}: {error}"[:300]) from error


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over `timestamp.body`, hexadecimal: the receiver computes the same and compares."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post(stream: AuditStream, lines: Sequence[bytes], seal: str) -> None:
    secret = os.environ.get(stream.secret_env, "")
    if not stream.secret_env:
        raise SinkError(
            "It names no variable for its secret; name one in the admin (secret_env), so that it can be signed."
        )
    if not secret:
        raise SinkError(f"The worker's environment has no {stream.secret_env}: the webhook cannot be signed.")
    body, now = b"\n".join(lines) + b"\n", str(int(time.time()))
    answer = httpx.post(
        stream.url,
        content=body,
        timeout=TIMEOUT,
        follow_redirects=False,
        headers={
            "Content-Type": "application/jsonl; charset=utf-8",
            "X-Daytwo-Timestamp": now,
            "X-Daytwo-Signature": f"sha256={signature(secret, now, body)}",
            "X-Daytwo-Seal": seal,
        },
    )
    if not 200 <= answer.status_code < 300:
        raise SinkError(f"answered {answer.status_code}")


def _syslog(stream: AuditStream, lines: Sequence[bytes]) -> None:
    """Octet-counted messages (RFC 6587, RFC 5425). Syslog has no answer, so the orderly end of the connection is one."""
    address = urlsplit(stream.url)
    host, port = address.hostname or "", address.port or SYSLOG_PORT[address.scheme]
    plain = socket.create_connection((host, port), timeout=TIMEOUT)
    with closing(plain):
        link = plain
        if address.scheme == "syslog+tls":
            link = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        with closing(link):
            link.sendall(b"".join(framed(line) for line in lines))
            if isinstance(link, ssl.SSLSocket):
                link = link.unwrap()  # both sides say goodbye; an attacker's cut is no goodbye
            link.shutdown(socket.SHUT_WR)
            while link.recv(4096):
                pass


def framed(line: bytes) -> bytes:
    """One entry as a syslog message, its length before it."""
    entry = json.loads(line)
    level = WARNING if entry.get("event") in LOUD else NOTICE
    data = f'[{SD_ID} id="{entry["id"]}" event="{entry.get("event", "")}"]'
    head = f"<{level}>1 {entry['at']} {socket.gethostname()} daytwo - audit {data} "
    message = head.encode() + b"\xef\xbb\xbf" + line
    return str(len(message)).encode() + b" " + message
