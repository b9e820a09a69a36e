"""Syslog over TLS against a real listener: RFC 5425 frames, who it talks to, and no gap when the link breaks."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError

from apps.audit import sealing, sinks, streaming
from apps.audit.models import AuditEntry, AuditStream
from tests import factories
from tests.audit.test_streaming import record, sealed_ids

pytestmark = pytest.mark.django_db
#: RFC 5424: priority and version, time, host, app, process, kind, structured data, then the text after its mark.
HEAD = re.compile(
    rb'^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) daytwo - audit \[daytwo@32473 id="(\d+)" event="(\w+)"\] \xef\xbb\xbf'
)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            self.subject, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject: x509.Name, key: Any, *extensions: Any, days: int = 30) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        begin = now - dt.timedelta(days=60 if days < 0 else 1)
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(begin)
            .not_valid_after(now + dt.timedelta(days=days))
        )  # fmt: skip
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self.key, hashes.SHA256())

    def issue(self, host: str, *, days: int = 30) -> tuple[Path, Path]:
        """A server's certificate and key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = self._sign(
            subject, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(host)]), days=days
        )
        certificate, private = (
            self.folder / f"{self.name}-{host}.crt",
            self.folder / f"{self.name}-{host}.key",
        )
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


class Listener:
    """A syslog receiver over TLS. It keeps whole messages; `cuts` connections it breaks off after `after` bytes."""

    def __init__(self, certificate: Path, private: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, private)
        self.messages: list[bytes] = []
        self.errors: list[str] = []
        self.connections, self.cuts, self.after, self.keeps = 0, 0, 0, True
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            plain.settimeout(10)
            try:
                with self.context.wrap_socket(plain, server_side=True) as link:
                    self.receive(link)
            except OSError as error:
                self.errors.append(str(error))

    def receive(self, link: ssl.SSLSocket) -> None:
        data = b""
        while part := link.recv(4096):
            data += part
            if self.cuts and len(data) >= self.after:
                self.cuts -= 1
                if self.keeps:
                    self.take(data)
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)  # without a goodbye
                return
        assert self.take(data) == b"", "whole frames and nothing else"
        link.unwrap()

    def take(self, data: bytes) -> bytes:
        """Octet counting: MSG-LEN SP SYSLOG-MSG, again and again; gives what is no whole frame."""
        while data:
            length, mark, rest = data.partition(b" ")
            if not mark or not re.fullmatch(rb"[1-9]\d*", length) or len(rest) < int(length):
                return data
            self.messages.append(rest[: int(length)])
            data = rest[int(length) :]
        return data

    @property
    def ids(self) -> list[int]:
        return [int(HEAD.match(one)[4]) for one in self.messages]  # type: ignore[index]

    def close(self) -> None:
        """Take no more: an accept() that waits would else take one."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority that this machine trusts, and no other."""
    made = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(streaming, "BATCH", 3)
    return made


@pytest.fixture
def listener(authority: Authority) -> Iterator[Listener]:
    made = Listener(*authority.issue("localhost"))
    yield made
    made.close()


def make_stream(port: int, host: str = "localhost") -> AuditStream:
    with factories.as_system():
        return AuditStream.objects.create(name="siem", kind="syslog", url=f"syslog+tls://{host}:{port}")


def deliver() -> int:
    AuditStream.objects.unrecorded_update(next_try_at=None)
    return streaming.deliver_due()


def test_each_entry_is_one_frame_in_order(listener: Listener) -> None:
    stream = make_stream(listener.port)
    factories.make_account("Zürich ✓\nline")
    record(6)
    sealing.seal()
    assert deliver() == len(sealed_ids())
    assert listener.ids == sealed_ids()
    assert listener.errors == []
    lines = {entry.pk: entry for entry in AuditEntry.objects.all()}
    for message in listener.messages:
        found = HEAD.match(message)
        assert found, message[:200]
        line = json.loads(message[found.end() :])
        assert (line["id"], line["at"].encode(), line["event"].encode()) == (
            int(found[4]),
            found[2],
            found[5],
        )
        assert int(found[1]) == 109
        assert line["object_repr"] == lines[line["id"]].object_repr
    stream.refresh_from_db()
    assert (stream.sent_to, stream.last_error) == (sealed_ids()[-1], "")


def test_nothing_crosses_the_wire_in_the_clear(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as plain:
        plain.sendall(b"12 hello, there")
        with suppress(OSError):
            plain.recv(100)
    assert listener.messages == []


@pytest.mark.parametrize("wrong", ["another authority", "another name", "expired", "no TLS at all"])
def test_whoever_is_not_the_receiver_gets_nothing(authority: Authority, tmp_path: Path, wrong: str) -> None:
    files = {
        "another authority": lambda: Authority(tmp_path, "stranger").issue("localhost"),
        "another name": lambda: authority.issue("siem.example"),
        "expired": lambda: authority.issue("localhost", days=-1),
        "no TLS at all": lambda: authority.issue("localhost"),
    }[wrong]()
    listener = Listener(*files)
    if wrong == "no TLS at all":
        listener.close()
        server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: _says_hello(server), daemon=True).start()
        stream = make_stream(server.getsockname()[1])
    else:
        stream = make_stream(listener.port)
    record(2)
    sealing.seal()
    assert deliver() == 0
    stream.refresh_from_db()
    assert (stream.sent_to, stream.failures) == (0, 1)
    assert "SSL" in stream.last_error
    assert listener.messages == []
    listener.close()


def _says_hello(server: socket.socket) -> None:
    link, _ = server.accept()
    with link:
        link.sendall(b"220 hello\r\n")
        with suppress(OSError):
            link.recv(100)


@pytest.mark.parametrize("keeps", [True, False], ids=["it had taken some", "it had taken none"])
def test_a_link_that_breaks_in_the_middle_leaves_no_gap(listener: Listener, keeps: bool) -> None:
    stream = make_stream(listener.port)
    record(10)
    sealing.seal()
    listener.cuts, listener.after, listener.keeps = 2, 700, keeps
    for _ in range(2):
        assert deliver() == 0, "a link that is cut is no receipt"
        stream.refresh_from_db()
        assert stream.sent_to == 0
    while deliver():
        pass
    assert list(dict.fromkeys(listener.ids)) == sealed_ids(), "in order, none missing"
    assert len(listener.ids) - len(set(listener.ids)) <= 2 * streaming.BATCH
    assert listener.connections >= 3


def test_a_receiver_that_was_away_gets_all_when_it_is_back(authority: Authority) -> None:
    files = authority.issue("localhost")
    first = Listener(*files)
    stream = make_stream(first.port)
    record(4)
    sealing.seal()
    deliver()
    first.close()
    record(5)
    sealing.seal()
    assert deliver() == 0
    stream.refresh_from_db()
    assert stream.failures == 1
    second = Listener(*files)
    with factories.as_system():
        AuditStream.objects.filter(pk=stream.pk).update(url=f"syslog+tls://localhost:{second.port}")
    sealing.seal()
    while deliver():
        pass
    assert first.ids + second.ids == sealed_ids()
    second.close()


def test_what_is_loud_is_a_warning() -> None:
    assert sinks.framed(b'{"id":7,"at":"x","event":"denied"}').split(b" ", 1)[1].startswith(b"<108>1 ")


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("syslog://siem.example:514", False), ("syslog://localhost:514", True), ("syslog://127.0.0.1:514", True),
        ("syslog+tls://siem.example:6514", True),
    ],
)  # fmt: skip
def test_in_production_it_leaves_the_machine_encrypted(settings: Any, url: str, is_fine: bool) -> None:
    settings.PRODUCTION = True
    stream = AuditStream(name="x", kind="syslog", url=url)
    if is_fine:
        stream.full_clean()
    else:
        with pytest.raises(ValidationError, match=r"syslog\+tls"):
            stream.full_clean()
