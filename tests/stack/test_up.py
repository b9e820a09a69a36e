"""`make up`, as far as it goes without a whole portal: ports, state, messages."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from portal.stack import up
from portal.stack.errors import PortTaken, StackError
from portal.stack.state import ROOT, State


def test_a_port_that_is_asked_for_must_be_free() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} is taken"):
            up.choose_port(str(port))
    assert up.choose_port(str(port)) == port


@pytest.mark.parametrize("wrong", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(StackError, match="PORT must be a number"):
        up.choose_port(wrong)


def test_a_database_address_is_shown_without_its_password() -> None:
    assert up.where("postgresql://daytwo:secret@db.example.com:6432/daytwo") == "db.example.com:6432"


def test_the_secret_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    state = State(tmp_path)
    key = state.secret_key()
    assert len(key) >= 50
    assert State(tmp_path).secret_key() == key
    assert stat.S_IMODE(state.secret_key_file.stat().st_mode) == 0o600


def test_a_second_portal_on_the_same_data_says_where_the_first_one_is(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.create()
    held = up.lock(state)
    assert held is not None
    (state.run / "portal.json").write_text('{"pid": 1, "address": "http://127.0.0.1:8123"}')
    done = subprocess.run(
        [sys.executable, "-m", "portal.stack.up"],
        cwd=ROOT,
        env={**os.environ, "DAYTWO_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "already runs here: http://127.0.0.1:8123" in done.stdout
    assert "make down" in done.stdout


def test_down_where_nothing_runs_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "DAYTWO_DATA_DIR": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "portal.stack.down"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "Nothing to stop" in done.stdout) == (0, True)
