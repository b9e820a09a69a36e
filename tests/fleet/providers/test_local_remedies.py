"""What the local provider does to real processes and files to mend them: workers, room on the disk, commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from apps.core.redacting import PUT, redacted
from apps.fleet.providers import arguments
from apps.fleet.providers.base import Argument, Command, ProviderError, Target
from apps.fleet.providers.local import commanding, room
from apps.fleet.providers.local.provider import LocalProvider

from .conftest import Stage


def offer(local: LocalProvider, program: str, *commands: dict[str, object], version: str = "1.0.0") -> None:
    """Have a release offer these commands, by this program."""
    where = local.root / "versions" / version
    manifest = json.loads((where / "manifest.json").read_text())
    (where / "manifest.json").write_text(json.dumps({**manifest, "commands": list(commands)}))
    (where / "commands.py").write_text(program)


def _busy(local: LocalProvider, target: Target) -> float:
    return next(sample.value for sample in local.metrics(target) if sample.name == "workers_busy")


class TestWorkers:
    def test_more_workers_serve_more_at_once(self, local: LocalProvider, local_stage: Stage) -> None:
        """Requests of this release take their time: how many are in hand at once is as many as there are workers."""
        local.install_version("1.2.0", fault="slow:1.0")
        target = local_stage.deployed(version="1.2.0")

        url, trust = f"{local.observe(target).endpoint}/t/acme/", local.authority.client_context()

        def most_of_six() -> float:
            """How many of six requests were ever in hand together."""
            most = 0.0
            with ThreadPoolExecutor(6) as pool:
                asked = [pool.submit(httpx.get, url, verify=trust, timeout=30) for _ in range(6)]
                while not all(one.done() for one in asked):
                    most = max(most, _busy(local, target))
            assert [one.result().status_code for one in asked] == [200] * 6
            return most

        local.scale(target, workers=2)
        assert most_of_six() == 2
        local.scale(target, workers=6)
        assert most_of_six() > 2
        assert local.observe(target).generation == 1

    def test_they_stay_through_a_restart(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        local.scale(target, workers=3)
        local.restart(target, generation=1)
        local_stage.well(target)
        assert local.workers(target) == 3


class TestRoom:
    def full(self, directory: Path) -> int:
        """Turned logs, leavings and an overlong log: what a busy week leaves."""
        old = time.time() - 3600
        for number in (1, 2):
            (directory / f"log.{number}.jsonl").write_text(
                json.dumps({"segment": number}) + "\n" + "x" * 400_000 + "\n"
            )
        (directory / ".served.pem.abc123xy").write_bytes(b"x" * 100_000)
        os.utime(directory / ".served.pem.abc123xy", (old, old))
        with (directory / "stderr.log").open("ab") as file:
            file.write(b"a warning of the runtime\n" * 20_000)
        return room.measure(directory).total

    def test_logs_and_leavings_go_and_it_goes_on_serving_and_logging(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        directory = local.root / "instances" / "inst-1"
        before = self.full(directory)
        use = local.disk(target)
        assert use.total == before
        assert use.clearable > 1_300_000
        local.clear_disk(target)
        after = local.disk(target)
        assert before - after.total >= use.clearable - 1_000
        assert after.clearable == 0
        assert {"instance.json", "pid.json", "served.pem", "log.jsonl"} <= {
            p.name for p in directory.iterdir()
        }
        assert local.serves(target, ["acme"]) == {"acme"}
        lines = [line.message for line in local.logs(target).lines]
        assert any(line.startswith("started version") for line in lines)
        assert any("/t/acme/" in line for line in lines), "what it logs after the clearing is there"

    def test_an_overlong_log_keeps_its_end_and_its_reader_goes_on(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = replace(local_stage.target("inst-1"), config={"log_bytes": 10_000_000})
        local.apply(target, version="1.0.0")
        local_stage.well(target)
        path = local.root / "instances" / "inst-1" / "log.jsonl"
        line = (
            json.dumps({"at": "2026-11-24T20:00:00.000Z", "level": "info", "message": "busy " + "x" * 200})
            + "\n"
        )
        with path.open("ab") as file:
            file.write(line.encode() * 2_000)
        local.serves(target, ["acme"])
        cursor = local.logs(target).cursor
        local.clear_disk(target)
        assert path.stat().st_size < room.LONG
        assert json.loads(path.read_text().splitlines()[0]) == {"segment": 1}
        local.serves(target, ["globex"])
        found = [entry.message for entry in local.logs(target, limit=50).lines]
        assert any("/t/acme/" in m for m in found), "the end is kept"
        assert any("/t/globex/" in m for m in found)
        assert local.logs(target, after=cursor).lines, "whoever followed it goes on"

    def test_cleared_in_the_middle_the_next_one_goes_on(
        self, local: LocalProvider, local_stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = local_stage.deployed()
        directory = local.root / "instances" / "inst-1"
        self.full(directory)
        real, gone = Path.unlink, []

        def deadly(path: Path, *args: object, **kwargs: object) -> None:
            real(path, *args, **kwargs)  # type: ignore[arg-type]
            gone.append(path)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "unlink", deadly)
            local.clear_disk(target)
        assert len(gone) == 1
        assert local.disk(target).clearable > 0
        local.clear_disk(target)
        assert local.disk(target).clearable == 0
        assert local.observe(target).healthy

    def test_on_a_full_disk_it_makes_room(self, local: LocalProvider, local_stage: Stage) -> None:
        small = local.root.parent / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("a small file system can be mounted by root only")
        provider = LocalProvider(small / "fleet")
        try:
            provider.prepare()
            provider.install_version("1.0.0")
            target = local_stage.target("inst-1")
            provider.apply(target, version="1.0.0")
            Stage(provider, local_stage.target).well(target)
            log = small / "fleet" / "instances" / "inst-1" / "log.1.jsonl"
            with log.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * 4096)
            with pytest.raises(ProviderError, match="free disk space"):
                provider.scale(target, workers=3)
            provider.clear_disk(target)
            provider.scale(target, workers=3)
            assert provider.workers(target) == 3
        finally:
            provider.stop_all()
            subprocess.run(["umount", "-l", small], check=True)


class TestCommands:
    def test_arguments_are_typed(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        local.serves(target, ["acme", "nobody"])
        assert (
            "1 requests of acme" in local.run_command(target, "requests", {"tenant": "acme"}, key="a").output
        )
        assert "/t/nobody/" in local.run_command(target, "errors", {"last": "5"}, key="b").output
        for name, given, complaint in (
            ("errors", {"last": "0"}, "a whole number from 1 to 500"),
            ("errors", {"last": "5; rm -rf /"}, "a whole number"),
            ("requests", {"tenant": "nobody"}, "a tenant that it serves"),
            ("mark", {}, "a word of letters"),
            ("mark", {"text": "$(id)"}, "a word of letters"),
        ):
            with pytest.raises(ProviderError, match=complaint):
                local.run_command(target, name, given, key="c")

    def test_one_key_is_one_run(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        results = [local.run_command(target, "mark", {"text": "here"}, key="operation-7") for _ in range(3)]
        assert {r.output for r in results} == {"marked: here\n"}
        assert [line.message for line in local.logs(target).lines].count("mark: here") == 1

    def test_secrets_are_hidden_and_output_is_cut(self, local: LocalProvider, local_stage: Stage) -> None:
        offer(
            local,
            "import os, sys\nprint('db password=hunter22 and', 'pgx://bob:hunter22@db', os.environ)\n"
            "print('raw: abc-secret-value')\nprint('x' * 200_000)\n",
            {"name": "tell", "about": "tells too much"},
        )
        target = replace(local_stage.target("inst-1"), config={"api_token": "abc-secret-value"})
        local.apply(target, version="1.0.0")
        local_stage.well(target)
        result = local.run_command(target, "tell", {}, key="a")
        assert (result.is_cut, result.exit_code) == (True, 0)
        assert len(result.output) <= commanding.MOST
        assert "hunter22" not in result.output
        assert "abc-secret-value" not in result.output
        assert f"raw: {PUT}" in result.output
        assert "DATABASE_URL" not in result.output, "it has none of our environment"
        kept = (local.root / "instances" / "inst-1" / "commands" / "a.json").read_text()
        assert "hunter22" not in kept

    def test_one_that_takes_too_long_is_ended_with_all_it_started(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        offer(
            local,
            "import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "print(child.pid, flush=True)\ntime.sleep(60)\n",
            {"name": "sleep", "about": "sleeps", "timeout": 1.0},
        )
        target = local_stage.deployed()
        result = local.run_command(target, "sleep", {}, key="a")
        assert (result.exit_code, "ended after the 1 s" in result.output) == (124, True)
        child = int(result.output.split()[0])
        time.sleep(0.2)
        status = Path(f"/proc/{child}/stat")
        assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"

    def test_one_that_fails_says_how(self, local: LocalProvider, local_stage: Stage) -> None:
        offer(local, "import sys\nsys.exit('no such table')\n", {"name": "fail", "about": "fails"})
        target = local_stage.deployed()
        result = local.run_command(target, "fail", {}, key="a")
        assert (result.exit_code, result.output.strip()) == (1, "no such table")

    @pytest.mark.parametrize("is_repeatable", [True, False])
    def test_its_worker_is_killed_in_the_middle(
        self, local: LocalProvider, local_stage: Stage, is_repeatable: bool
    ) -> None:
        """The command holds its lock on; only when it has ended is it looked at again, and run again if it may be."""
        target = local_stage.deployed()
        marks = local.root.parent / "marks"
        offer(
            local,
            f"import time\nopen({str(marks)!r}, 'a').write('begun\\n')\ntime.sleep(1.5)\nprint('done')\n",
            {"name": "work", "about": "works", "is_repeatable": is_repeatable},
        )
        script = (
            "import sys; from pathlib import Path; from apps.fleet.providers.local.provider import LocalProvider; "
            "from apps.fleet.providers.base import Target; "
            f"LocalProvider(Path({str(local.root)!r})).run_command(Target(1, 'inst-1', 'c', '1.0.0'), 'work', {{}}, key='k')"
        )
        worker = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
        deadline = time.monotonic() + 15
        while not marks.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        if is_repeatable:
            assert local.run_command(target, "work", {}, key="k").output.strip() == "done"
            assert marks.read_text().splitlines() == ["begun"] * 2
        else:
            with pytest.raises(ProviderError, match="must not be done twice") as refused:
                local.run_command(target, "work", {}, key="k")
            assert not refused.value.retryable
            assert marks.read_text().splitlines() == ["begun"]

    def test_a_release_of_before_offers_none(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        manifest = local.root / "versions" / "1.0.0" / "manifest.json"
        manifest.write_text('{"version": "1.0.0", "notes": "", "fault": null}')
        assert local.commands(target) == []
        with pytest.raises(ProviderError, match="there are: none"):
            local.run_command(target, "status", {}, key="a")

    def test_two_at_once_with_one_key(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        barrier = threading.Barrier(4)

        def run(_: int) -> str:
            barrier.wait()
            return local.run_command(target, "mark", {"text": "once"}, key="k").output

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(run, range(4))) == {"marked: once\n"}
        assert [line.message for line in local.logs(target).lines].count("mark: once") == 1


class TestArguments:
    @pytest.mark.parametrize("line", ["last", "last=", "a=1 a=2", "A=1", "a=$(id)", "a='x", "=x", "a=x;b"])
    def test_a_line_that_makes_no_sense(self, line: str) -> None:
        with pytest.raises(ValueError, match=r"argument|twice"):
            arguments.read(line)

    def test_choices(self) -> None:
        command = Command("c", "x", (Argument("level", "choice", choices=("low", "high"), default="low"),))
        assert arguments.checked(command, {}, []) == {"level": "low"}
        with pytest.raises(ProviderError, match="one of low, high"):
            arguments.checked(command, {"level": "up"}, [])


class TestRedacting:
    @pytest.mark.parametrize(
        "text",
        [
            "password=hunter22", "PASSWORD: hunter22", '"db_password": "hunter22"', "Authorization: Bearer hunter22abc",
            "postgres://bob:hunter22@db/x", "bearer hunter22abc", "api_key = hunter22",
            "-----BEGIN EC PRIVATE KEY-----\nhunter22\n-----END EC PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nhunter22",
        ],
    )  # fmt: skip
    def test_what_looks_like_a_secret_is_hidden(self, text: str) -> None:
        assert "hunter22" not in redacted(f"before {text} after")
        assert "before" in redacted(f"before {text} after")

    @pytest.mark.parametrize(
        "text",
        [
            "x" * 500_000,
            "password" * 60_000,
            "-eyJ" * 50_000,
            "a." * 200_000,
            "token " * 80_000,
            "bearer " * 70_000,
            "a://" * 100_000,
        ],
    )
    def test_long_text_costs_no_more_than_its_length(self, text: str) -> None:
        def cost(of: str) -> float:
            took = []
            for _ in range(3):
                began = time.thread_time()
                redacted(of)
                took.append(time.thread_time() - began)
            return min(took)

        # Work of this thread alone, whatever else the machine does: four times the text may not cost its square, 16.
        assert cost(text) < 10 * cost(text[: len(text) // 4]) + 0.02

    def test_the_rest_stays(self) -> None:
        text = "GET /t/acme/ 200 in 3 ms, monkey business, tokenizer ready"
        assert redacted(text) == text


def test_a_target_without_a_record_has_nothing(local: LocalProvider) -> None:
    target = Target(1, "inst-9", "cell-1", "1.0.0")
    assert local.commands(target) == []
    assert local.disk(target).total == 0
