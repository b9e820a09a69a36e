"""The embedded PostgreSQL: one that starts anywhere, comes back after anything, and says why when it cannot."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from portal.stack import binaries, cluster
from portal.stack.errors import DiskFull, PortTaken, StackError, WrongVersion
from portal.stack.postgres import EmbeddedPostgres


@pytest.fixture
def server(own_postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    own_postgres.start()
    yield own_postgres


def remembered(server: EmbeddedPostgres) -> list[tuple[int]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        return connection.execute("SELECT count(*) FROM kept").fetchall()


def test_it_starts_and_serves_the_database(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT current_database(), lower('Ä'), current_setting('TimeZone')"
        ).fetchone()
    assert row == ("daytwo", "ä", "UTC")


def test_it_has_the_extensions_the_portal_needs(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in ("pg_trgm", "btree_gist"):
            connection.execute(f"CREATE EXTENSION {name}")


def test_it_listens_on_this_machine_only(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    listening = [
        c.laddr.ip for c in psutil.Process(server.pid).net_connections("inet") if c.status == "LISTEN"
    ]
    assert listening == ["127.0.0.1"]


def test_starting_twice_takes_over_what_runs(server: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(server.asked_dir, durable=False)
    second.start()
    assert (second.pid, second.url) == (server.pid, server.url)


def test_a_restart_keeps_port_and_data(server: EmbeddedPostgres) -> None:
    remembered(server)
    port = server.port
    server.restart()
    assert server.port == port
    assert remembered(server) == [(2,)]


def test_it_comes_back_on_its_port_after_sigkill_in_the_middle_of_work(server: EmbeddedPostgres) -> None:
    remembered(server)
    port = server.port
    with psycopg.connect(server.url):  # a backend that outlives the server for a moment
        server.kill()
        assert not server.is_running()
        server.start()
    assert server.port == port
    assert remembered(server) == [(2,)]


def test_a_process_number_used_again_by_a_stranger_is_not_the_server(server: EmbeddedPostgres) -> None:
    remembered(server)
    server.kill()
    pid_file = server.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not server.is_running()
    server.start()
    assert remembered(server) == [(2,)]


def test_a_port_asked_for_and_taken_is_named(own_postgres: EmbeddedPostgres) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = EmbeddedPostgres(own_postgres.asked_dir, port=port, durable=False)
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken"):
            server.start()
    server.start()
    assert server.port == port


def test_a_port_of_last_time_that_is_taken_is_replaced(server: EmbeddedPostgres) -> None:
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what the stopped one left waiting
        other.bind(("127.0.0.1", server.port or 0))
        other.listen()
        again = EmbeddedPostgres(server.asked_dir, durable=False)
        again.start()
        assert again.port != other.getsockname()[1]
        remembered(again)


def test_data_of_another_major_version_is_left_alone(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        WrongVersion, match=r"written by PostgreSQL 9, and only [\d, ]+ is installed here.*upgrade.md"
    ):
        server.start()
    assert (server.data_dir / "PG_VERSION").read_text() == "9\n"


def test_a_folder_with_something_else_in_it_is_left_alone(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.data_dir.mkdir()
    (own_postgres.data_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="holds no PostgreSQL database"):
        own_postgres.start()
    assert (own_postgres.data_dir / "thesis.txt").read_text() == "years of work"


def test_too_little_room_is_told_before_anything_is_written(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ROOM_FOR_A_DATABASE", 2**60)
    with pytest.raises(DiskFull, match=r"MB left; a database needs .* DAYTWO_DATA_DIR"):
        own_postgres.start()
    assert not own_postgres.data_dir.exists()


def test_a_full_disk_is_named_as_such() -> None:
    said = 'FATAL:  could not write lock file "postmaster.pid": No space left on device'
    assert isinstance(cluster.explain(said, "did not start", Path("/data"), None), DiskFull)


def test_a_server_that_cannot_start_is_quoted(server: EmbeddedPostgres) -> None:
    server.stop()
    with (server.data_dir / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match="no_such_setting"):
        server.start()


def test_a_durable_server_wants_a_password_and_keeps_it_to_its_owner(own_postgres: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres(own_postgres.asked_dir)
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{server.port}/daytwo")
    assert stat.S_IMODE((server.data_dir / "daytwo.password").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_goes_without_one() -> None:
    assert cluster.socket_folder(Path("/srv/daytwo"), 5432) == "/srv/daytwo"
    assert cluster.socket_folder(Path("/" + "long" * 30), 5432) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
class TestAsRoot:
    def test_the_server_runs_as_somebody_else(self, server: EmbeddedPostgres) -> None:
        assert server.user is not None and server.pid is not None
        assert psutil.Process(server.pid).uids().real == server.user.uid != 0

    def test_a_closed_folder_is_not_opened_but_linked_to_one_that_is(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
        try:
            server.start()
            assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
            assert (tmp_path / "postgres").is_symlink()
            remembered(EmbeddedPostgres(tmp_path / "postgres", durable=False))
        finally:
            server.destroy()
        assert not (tmp_path / "postgres").is_symlink()
        assert not server.data_dir.exists()

    def test_programs_in_a_closed_folder_run_from_a_copy_in_an_open_one(self, tmp_path: Path) -> None:
        user = binaries.run_as()
        installed = binaries.find_binaries(None)
        assert installed is not None
        package = installed.folder.parents[1]
        tmp_path.chmod(0o700)
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, tmp_path / source.name, symlinks=True)
        with (tmp_path / package.name / "pginstall/bin/postgres").open("ab") as file:
            file.write(b"\0")  # another fingerprint than one that a portal here may use
        copy = binaries._reachable_copy(tmp_path / package.name / "pginstall/bin", user)
        try:
            assert not copy.is_relative_to(tmp_path)
            code, said = cluster.run_program([str(copy / "initdb"), "--version"], user, 20)
            assert (code, "PostgreSQL" in said) == (0, True), said
        finally:
            shutil.rmtree(copy.parents[2])
