"""The supervisor: one process that ends is started again and disturbs no other."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from portal.stack import supervisor as module
from portal.stack.state import State
from portal.stack.supervisor import Supervisor, Voice, end_orphans, recall, remember

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
ENVIRONMENT = dict(os.environ)


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path)
    state.create()
    return state


@pytest.fixture
def supervisor(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.1)
    supervisor = Supervisor(state, Voice(state.logs))
    yield supervisor
    supervisor.stop(patience=0.1)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def log_of(state: State, name: str) -> str:
    path = state.logs / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_a_full_disk_at_a_restart_ends_nothing(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = supervisor.add("worker", SLEEP, ENVIRONMENT)
    worker.pause = 0.1
    assert worker.process is not None
    monkeypatch.setattr(module, "write_private", full)
    os.kill(worker.process.pid, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.tend(ENVIRONMENT)
        return worker.starts == 2 and worker.is_running

    wait_for(is_back)
    assert "cannot be kept: No space left on device" in log_of(supervisor.state, "system")


def test_what_cannot_be_started_now_is_tried_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen
    refused: list[object] = []

    def no_room(*arguments: Any, **options: Any) -> Any:
        if len(refused) < 2:
            refused.append(arguments)
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return start(*arguments, **options)

    monkeypatch.setattr(module.subprocess, "Popen", no_room)
    web = supervisor.add("web", SLEEP, ENVIRONMENT)
    assert not web.is_running
    web.pause = 0.1

    def is_up() -> bool:
        supervisor.tend(ENVIRONMENT)
        return web.is_running

    wait_for(is_up)
    assert "web cannot be started (Resource temporarily unavailable)" in log_of(supervisor.state, "system")


def test_a_killed_child_is_started_again_and_the_other_goes_on(supervisor: Supervisor) -> None:
    web = supervisor.add("web", SLEEP, ENVIRONMENT)
    worker = supervisor.add("worker", SLEEP, ENVIRONMENT)
    worker.pause = 0.1
    assert web.process is not None and worker.process is not None
    web_pid, worker_pid = web.process.pid, worker.process.pid
    os.kill(worker_pid, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.tend(ENVIRONMENT)
        return worker.starts == 2 and worker.is_running

    wait_for(is_back)
    assert web.process.pid == web_pid and web.is_running
    assert "worker ended (killed by SIGKILL)" in log_of(supervisor.state, "system")


def test_a_child_that_keeps_ending_is_started_ever_more_slowly(supervisor: Supervisor) -> None:
    child = supervisor.add("web", [sys.executable, "-c", "raise SystemExit(3)"], ENVIRONMENT)
    child.pause = 0.1

    def has_ended_three_times() -> bool:
        supervisor.tend(ENVIRONMENT)
        return child.starts >= 3 and child.process is None

    wait_for(has_ended_three_times)
    assert child.pause == pytest.approx(0.8)
    assert "exit code 3" in log_of(supervisor.state, "system")


def test_what_a_child_says_is_kept_in_its_log(supervisor: Supervisor) -> None:
    supervisor.add("web", SLEEP, ENVIRONMENT)
    wait_for(lambda: log_of(supervisor.state, "web").endswith(" up\n"))


def test_stop_ends_a_child_that_does_not_listen(supervisor: Supervisor) -> None:
    child = supervisor.add("web", STUBBORN, ENVIRONMENT)
    wait_for(lambda: "up" in log_of(supervisor.state, "web"))
    supervisor.stop(patience=0.2)
    assert not child.is_running
    assert list(supervisor.state.run.glob("*.pid")) == []


def test_stop_leaves_a_process_in_a_session_of_its_own_alone(supervisor: Supervisor) -> None:
    code = (
        "import subprocess,sys,time;"
        "p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(60)'],start_new_session=True);"
        "print(p.pid,flush=True); time.sleep(60)"
    )
    supervisor.add("worker", [sys.executable, "-c", code], ENVIRONMENT)
    wait_for(lambda: log_of(supervisor.state, "worker").strip() != "")
    tenant = psutil.Process(int(log_of(supervisor.state, "worker").split()[-1]))
    supervisor.stop()
    assert tenant.is_running()
    tenant.kill()


def test_children_of_a_killed_supervisor_are_found_and_ended(state: State) -> None:
    orphan = psutil.Popen(SLEEP)
    remember(state, "web", orphan.pid)
    assert end_orphans(state, ["web", "worker"]) == ["web"]
    assert orphan.wait(5) == -signal.SIGTERM


def test_a_process_number_used_again_is_not_mistaken_for_the_old_process(state: State) -> None:
    (state.run / "web.pid").write_text(f'{{"pid": {os.getpid()}, "born": 1.0}}')
    assert recall(state, "web") is None
