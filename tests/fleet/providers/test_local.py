"""What the local provider promises beyond the contract: real processes, and all that can befall them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from apps.fleet.providers.base import ProviderError, ProviderUnavailable, Target, UnknownVersion
from apps.fleet.providers.local.files import explained, read_boot, read_record
from apps.fleet.providers.local.provider import LocalProvider

from .conftest import Stage

ROOT = Path(__file__).resolve().parents[3]


def boot_of(local: LocalProvider, target: Target):
    boot = read_boot(local.root / "instances" / target.name)
    assert boot is not None
    return boot


def _until_stopped(pid: int) -> None:
    """Waits until every thread stands still: the kernel stops them one by one, and one may still answer."""
    deadline = time.monotonic() + 5
    while not all(
        (Path("/proc") / str(pid) / "task" / str(thread.id) / "stat")
        .read_text()
        .rpartition(")")[2]
        .split()[0]
        == "T"
        for thread in psutil.Process(pid).threads()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_another_process(local: LocalProvider, code: str) -> str:
    """Runs the code with `provider` and `target` at hand, in a new interpreter; returns what it printed."""
    prelude = (
        "from pathlib import Path\n"
        "from apps.fleet.providers.base import Target\n"
        "from apps.fleet.providers.local.provider import LocalProvider\n"
        f"provider = LocalProvider(Path({str(local.root)!r}))\n"
        "target = Target(1, 'inst-1', 'cell-1', '1.0.0', ('acme', 'globex'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", prelude + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


class TestProcess:
    def test_one_killed_by_hand_is_seen_at_once_with_its_pid(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        pid = boot_of(local, target).pid
        os.kill(pid, signal.SIGKILL)
        seen = local_stage.until(target, lambda seen: seen.state == "stopped", seconds=1)
        assert (seen.healthy, seen.detail) == (False, f"process {pid} is gone")
        local.restart(target, generation=1)
        assert local_stage.well(target).generation == 2
        for generation in range(2, 8):  # its port may be free only a moment after it counts as gone
            os.kill(boot_of(local, target).pid, signal.SIGKILL)
            local.restart(target, generation=generation)
        assert local_stage.well(target).generation == 8

    def test_a_recycled_pid_is_not_mistaken_for_it(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        local.stop(target)
        pid_file = local.root / "instances" / target.name / "pid.json"
        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            pid_file.write_text(json.dumps({**json.loads(pid_file.read_text()), "pid": stranger.pid}))
            assert local.observe(target).state == "stopped"
            assert local.running() == []
            local.stop(target)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_it_outlives_whoever_started_it_and_is_found_again(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        code = "provider.apply(target, version='1.0.0'); import os, signal; print(os.getpgid(0), flush=True)"
        in_another_process(local, code)
        target = local_stage.target("inst-1")
        assert local_stage.well(target).generation == 1
        found = in_another_process(local, "print(provider.observe(target).generation, provider.running())")
        assert found == "1 ['inst-1']"

    def test_it_is_detached_and_leaves_no_zombie(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        pid = boot_of(local, target).pid
        assert os.getsid(pid) == os.getpgid(pid) != os.getsid(0)
        assert psutil.Process(pid).ppid() != os.getpid()
        environment = psutil.Process(pid).environ()
        assert not {"SECRET_KEY", "DATABASE_URL"} & set(environment)
        links = Path(f"/proc/{pid}/fd")
        paths = {os.readlink(link) for link in links.iterdir()} if links.exists() else set()
        assert not [path for path in paths if path.endswith(".lock")]
        local.stop(target)
        assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]

    def test_a_starter_killed_in_the_middle_leaves_one_process(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        """Wherever the kill strikes, the next call finds what there is, and boots at most once more."""
        target = local_stage.target("inst-1")
        code = "provider.apply(target, version='1.0.0')"
        for delay in (0.10, 0.16, 0.20, 0.24, 0.28, 0.32):
            starter = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from pathlib import Path\nfrom apps.fleet.providers.base import Target\n"
                    "from apps.fleet.providers.local.provider import LocalProvider\n"
                    f"provider = LocalProvider(Path({str(local.root)!r}))\n"
                    f"target = Target(1, 'inst-1', 'cell-1', '1.0.0')\n{code}",
                ],
                cwd=ROOT,
            )
            time.sleep(delay)
            starter.kill()
            starter.wait()
            local.apply(target, version="1.0.0")
            local_stage.well(target)
            program = str(local.root / "versions")
            alive = [p.pid for p in psutil.process_iter() if any(program in word for word in cmdline(p))]
            assert alive == [boot_of(local, target).pid]
            local.destroy(target)

    def test_a_hung_one_is_answered_for_and_not_waited_for(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        pid = boot_of(local, target).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            _until_stopped(pid)
            for provider in (local, LocalProvider(local.root)):  # with a kept-alive connection, and without
                seen = provider.observe_many([target])[target.instance_id]  # it hangs on while this answers
                assert (seen.state, seen.healthy) == ("running", False)
                assert f"process {pid} is suspended" in seen.detail
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_ten_restarts_of_one_generation_are_one_boot(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        providers = [LocalProvider(local.root) for _ in range(10)]
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda provider: provider.restart(target, generation=1), providers))
        assert local_stage.well(target).generation == 2
        boots = [line for line in local.logs(target).lines if line.message.startswith("started")]
        assert len(boots) == 2

    def test_it_ends_when_its_directory_is_removed(self, local: LocalProvider, local_stage: Stage) -> None:
        target = replace(local_stage.target("inst-1"), config={"home_seconds": 0.1})
        local.apply(target, version="1.0.0")
        local_stage.well(target)
        boot = boot_of(local, target)
        shutil.rmtree(local.root / "instances" / "inst-1")
        deadline = time.monotonic() + 5
        while boot.alive():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_stop_all_and_resume_all_bring_back_the_same_ones(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        first, second = local_stage.deployed("inst-1"), local_stage.deployed("inst-2")
        local.stop(second)
        assert local.stop_all() == ["inst-1"]
        assert local.observe(first).detail == "stopped with the whole fleet"
        assert local.resume_all() == ["inst-1"]
        assert local_stage.well(first).generation == 2
        assert local.observe(second).detail == "stopped by request"


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class TestFaults:
    def applied(self, local: LocalProvider, stage: Stage, fault: str) -> Target:
        local.install_version("2.0.0", fault)
        target = stage.target("inst-1")
        local.apply(target, version="2.0.0")
        return target

    def test_unhealthy(self, local: LocalProvider, local_stage: Stage) -> None:
        target = self.applied(local, local_stage, "unhealthy")
        seen = local_stage.until(target, lambda seen: seen.state == "running")
        assert (seen.healthy, seen.detail) == (False, "the version's self-test fails")

    @pytest.mark.parametrize("fault", ["crash", "crash_later:0.5"])
    def test_crash(self, local: LocalProvider, local_stage: Stage, fault: str) -> None:
        target = self.applied(local, local_stage, fault)
        seen = local_stage.until(target, lambda seen: seen.state == "stopped")
        assert "is gone; its last words: fatal: version 2.0.0 crashed" in seen.detail
        assert local.logs(target).lines[-1].level == "critical"

    @pytest.mark.parametrize(
        ("fault", "why"), [("slow:0.6", "took over 0.5 s"), ("errors:1", "requests failed")]
    )
    def test_slow_and_errors_are_healthy_but_degraded(
        self, local: LocalProvider, local_stage: Stage, fault: str, why: str
    ) -> None:
        target = self.applied(local, local_stage, fault)
        local_stage.well(target)
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: visit(local, target, "acme"), range(12)))
        seen = local.observe(target)
        assert (seen.healthy, seen.degraded) == (True, True)
        assert why in seen.detail

    def test_an_unknown_fault_names_the_known_ones(self, local: LocalProvider) -> None:
        with pytest.raises(ProviderError, match="'slwo' is no fault; write one of crash, "):
            local.install_version("3.0.0", "slwo")


def visit(local: LocalProvider, target: Target, tenant: str) -> int:
    record = read_record(local.root / "instances" / target.name)
    assert record is not None
    return local._prober.get(record.port, f"/t/{tenant}/orders", timeout=5).status_code


class TestRequests:
    def test_they_are_counted_per_tenant_and_logged_with_their_id(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        for _ in range(3):
            assert visit(local, target, "acme") == 200
        assert visit(local, target, "globex") == 200
        assert visit(local, target, "nobody") == 404
        counts = {
            (s.labels["tenant"], s.labels["code"]): s.value
            for s in local.metrics(target)
            if s.name == "http_requests_total"
        }
        assert counts == {("acme", "200"): 3, ("globex", "200"): 1, ("unknown", "404"): 1}
        lines = [line for line in local.logs(target).lines if line.tenant == "acme"]
        assert len(lines) == 3
        assert len({line.request_id for line in lines}) == 3

    def test_a_tenant_placed_later_is_served_without_a_restart(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        assert visit(local, target, "initech") == 404
        local.place(Target(target.instance_id, target.name, target.cell, "1.0.0", ("acme", "initech")))
        assert visit(local, target, "initech") == 200
        assert local.observe(target).generation == 1

    def test_visitors_reach_running_instances_and_skip_dead_ones(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target, dead = local_stage.deployed("inst-1"), local_stage.deployed("inst-2")
        local.stop(dead)
        command = [sys.executable, "-m", "apps.fleet.providers.local.traffic", "--root", str(local.root)]
        visitors = subprocess.Popen([*command, "--rps", "50"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        local_stage.until(target, lambda _: len(local.logs(target).lines) > 10)
        visitors.terminate()
        said = visitors.communicate(timeout=10)[1]
        assert visitors.returncode == 0
        assert said.startswith("visits: ") and said.endswith(", 0 not\n"), said


class TestLog:
    def test_the_cursor_survives_rotation(self, local: LocalProvider, local_stage: Stage) -> None:
        plain = local_stage.target("inst-1")
        target = Target(plain.instance_id, plain.name, "cell-1", "1.0.0", ("acme",), {"log_bytes": 3000})
        local.apply(target, version="1.0.0")
        local_stage.well(target)
        cursor, seen = local.logs(target).cursor, []
        for _ in range(12):
            for _ in range(4):
                visit(local, target, "acme")
            page = local.logs(target, after=cursor)
            cursor = page.cursor
            seen += [line.request_id for line in page.lines]
            page = local.logs(target, after=cursor, limit=1)
            cursor = page.cursor
            seen += [line.request_id for line in page.lines]
        time.sleep(0.1)  # a line is written after its answer
        seen += [line.request_id for line in local.logs(target, after=cursor).lines]
        assert (local.root / "instances" / target.name / "log.1.jsonl").exists()
        assert len(seen) == len(set(seen)) == 48

    def test_a_destroyed_instance_begins_anew(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        local.destroy(target)
        local.apply(target, version="1.0.0")
        local_stage.well(target)
        assert local.logs(target, after="7:120").lines


class TestCertificate:
    def test_it_is_of_the_fleets_authority_and_keys_are_private(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        served = local.served_certificate(target)
        assert (served.subject, served.names) == ("CN=inst-1", ("inst-1", "127.0.0.1"))
        assert (served.issuer, served.key) == ("CN=Daytwo local fleet authority", "EC secp256r1")
        for secret in (
            local.root / "authority" / "ca.key",
            local.root / "instances" / "inst-1" / "served.pem",
        ):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600

    def test_a_swap_under_load_fails_no_request(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        record = read_record(local.root / "instances" / target.name)
        assert record is not None
        until = time.monotonic() + 2.0

        def keep_visiting(new_connections: bool) -> int:
            visitor, count = LocalProvider(local.root), 0
            while time.monotonic() < until:
                if new_connections:
                    assert visitor.served_certificate(target).subject == "CN=inst-1"
                else:
                    assert (
                        visitor._prober._http().get(f"https://127.0.0.1:{record.port}/t/acme/x").status_code
                        == 200
                    )
                count += 1
            return count

        seen = {local.served_certificate(target).fingerprint}
        with ThreadPoolExecutor(6) as pool:
            visitors = [pool.submit(keep_visiting, number % 2 == 0) for number in range(6)]
            for _ in range(8):
                chain, key = local.authority.issue(["inst-1", "127.0.0.1"])
                local.present_certificate(target, chain_pem=chain, key_pem=key)
                fingerprint = local.served_certificate(target).fingerprint
                assert fingerprint not in seen
                seen.add(fingerprint)
                time.sleep(0.2)
            assert all(visitor.result() > 5 for visitor in visitors)
        assert local.observe(target).generation == 1
        assert [line for line in local.logs(target, limit=5000).lines if line.level == "error"] == []

    def test_a_key_of_another_certificate_is_refused_and_changes_nothing(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        before = local.served_certificate(target)
        chain, _ = local.authority.issue(["inst-1"])
        _, key = local.authority.issue(["inst-1"])
        with pytest.raises(ProviderError, match="the key does not belong"):
            local.present_certificate(target, chain_pem=chain, key_pem=key)
        with pytest.raises(ProviderError, match="not readable PEM"):
            local.present_certificate(target, chain_pem=b"nonsense", key_pem=key)
        assert local.served_certificate(target) == before

    def test_one_that_nobody_trusts_is_unhealthy_and_says_why(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        other = LocalProvider(local.root.parent / "other")
        chain, key = other.authority.issue(["inst-1", "127.0.0.1"])
        local.present_certificate(target, chain_pem=chain, key_pem=key)
        seen = LocalProvider(local.root).observe(target)
        assert not seen.healthy
        assert "certificate is not trusted" in seen.detail


class TestTrouble:
    def test_a_version_that_is_not_there(self, local: LocalProvider, local_stage: Stage) -> None:
        target = local_stage.deployed()
        with pytest.raises(
            UnknownVersion, match=r"version 9.9.9 is not installed .* \(there are: 1.0.0, 1.1.0\)"
        ):
            local.apply(target, version="9.9.9")
        assert local.observe(target).healthy

    def test_a_taken_port_names_who_has_it_and_is_kept(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        target = local_stage.deployed()
        endpoint = local.observe(target).endpoint
        local.stop(target)
        with socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the probe's old connection
            taker.bind(("127.0.0.1", int(endpoint.rpartition(":")[2])))
            taker.listen()
            with pytest.raises(
                ProviderError, match=rf"is taken by .*process {os.getpid()}; end that"
            ) as refused:
                local.start(target)
            assert refused.value.retryable
            assert local.observe(target).generation == 1
        local.start(target)
        seen = local_stage.well(target)
        assert (seen.endpoint, seen.generation) == (endpoint, 2)

    def test_a_port_that_becomes_free_within_a_moment_is_waited_for(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        """As after a kill: the kernel closes the socket when the process already counts as gone."""
        target = local_stage.deployed()
        port = int(local.observe(target).endpoint.rpartition(":")[2])
        local.stop(target)
        with ThreadPoolExecutor(1) as pool, socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taker.bind(("127.0.0.1", port))
            taker.listen()
            started = pool.submit(local.start, target)
            time.sleep(0.3)
            assert not started.done()
            taker.close()
            started.result()
        assert local_stage.well(target).generation == 2

    def test_no_space(self) -> None:
        with (
            pytest.raises(ProviderUnavailable, match="no space left at /x; free disk space"),
            explained("starting a"),
        ):
            raise OSError(errno.ENOSPC, "No space left on device", "/x")

    def test_a_full_disk_is_told_and_left_behind(self, local: LocalProvider, local_stage: Stage) -> None:
        small = local.root.parent / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("a small file system can be mounted by root only")
        try:
            provider = LocalProvider(small / "fleet")
            provider.prepare()
            provider.install_version("1.0.0")
            filler = small / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * 4096)
            target = local_stage.target("inst-1")
            with pytest.raises(ProviderUnavailable, match="free disk space"):
                provider.apply(target, version="1.0.0")
            assert provider.running() == []
            filler.unlink()
            provider.apply(target, version="1.0.0")
            assert Stage(provider, local_stage.target).well(target).generation == 1
            provider.stop_all()
        finally:
            subprocess.run(["umount", "-l", small], check=True)

    @pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden"])
    def test_a_name_that_is_no_file_name_is_refused(self, local: LocalProvider, name: str) -> None:
        target = Target(1, name, "cell-1", "1.0.0")
        with pytest.raises(ProviderError, match="cannot be the name of an instance"):
            local.apply(target, version="1.0.0")
        seen = local.observe_many([target])[1]
        assert (seen.state, seen.healthy) == ("unknown", False)
        assert "cannot be the name" in seen.detail

    def test_a_damaged_record_spoils_only_its_own_instance(
        self, local: LocalProvider, local_stage: Stage
    ) -> None:
        well, ill = local_stage.deployed("inst-1"), local_stage.deployed("inst-2")
        (local.root / "instances" / "inst-2" / "instance.json").write_text("{")
        seen = local.observe_many([well, ill])
        assert seen[well.instance_id].healthy
        assert "is damaged; destroy the instance" in seen[ill.instance_id].detail
        local.destroy(ill)
        assert local.running() == ["inst-1"]
        local.apply(ill, version="1.0.0")
        assert local_stage.well(ill).generation == 1
