"""What every provider promises; each test runs over all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.fleet.providers.base import ProviderError, ProviderUnavailable

from .conftest import Stage


class TestApply:
    def test_it_deploys_a_missing_instance(self, stage: Stage) -> None:
        target = stage.target("inst-1")
        seen = stage.provider.observe(target)
        assert (seen.state, seen.healthy, seen.generation) == ("missing", False, 0)
        stage.provider.apply(target, version="1.0.0")
        seen = stage.well(target)
        assert (seen.state, seen.version, seen.generation) == ("running", "1.0.0", 1)

    def test_a_second_time_has_no_effect(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.apply(target, version="1.0.0")
        assert stage.provider.observe(target).generation == 1

    def test_it_changes_the_version_with_one_boot(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.apply(target, version="1.1.0")
        seen = stage.well(target)
        assert (seen.version, seen.generation) == ("1.1.0", 2)

    def test_it_starts_a_stopped_instance(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.apply(target, version="1.0.0")
        assert stage.well(target).generation == 2


class TestStartAndStop:
    def test_stop_ends_it_and_says_why(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        seen = stage.provider.observe(target)
        assert (seen.state, seen.healthy, seen.detail) == ("stopped", False, "stopped by request")
        assert (seen.version, seen.generation) == ("1.0.0", 1)

    def test_stop_twice_and_of_a_missing_one_has_no_effect(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.stop(target)
        assert stage.provider.observe(target).state == "stopped"
        stage.provider.stop(stage.target("inst-2"))
        assert stage.provider.observe(stage.target("inst-2")).state == "missing"

    def test_start_boots_a_stopped_one_once(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.start(target)
        stage.provider.start(target)
        seen = stage.well(target)
        assert (seen.version, seen.generation) == ("1.0.0", 2)

    def test_start_of_a_missing_one_is_refused_for_good(self, stage: Stage) -> None:
        with pytest.raises(ProviderError, match="deploy a version first") as refused:
            stage.provider.start(stage.target("inst-1"))
        assert not refused.value.retryable


class TestRestart:
    def test_it_boots_once_for_one_generation(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.restart(target, generation=1)
        assert stage.well(target).generation == 2
        stage.provider.restart(target, generation=1)
        assert stage.provider.observe(target).generation == 2

    def test_it_starts_a_stopped_one(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.restart(target, generation=1)
        assert stage.well(target).generation == 2

    def test_of_a_missing_one_it_is_refused_for_good(self, stage: Stage) -> None:
        with pytest.raises(ProviderError, match="deploy a version first") as refused:
            stage.provider.restart(stage.target("inst-1"), generation=0)
        assert not refused.value.retryable


class TestDestroy:
    def test_it_is_missing_afterwards_and_can_come_back(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.destroy(target)
        stage.provider.destroy(target)
        assert stage.provider.observe(target).state == "missing"
        stage.provider.apply(target, version="1.0.0")
        assert stage.well(target).version == "1.0.0"


class TestMany:
    def test_all_are_seen_and_a_missing_one_spoils_nothing(self, stage: Stage) -> None:
        well, missing = stage.deployed(), stage.target("inst-2")
        seen = stage.provider.observe_many([well, missing])
        assert seen[well.instance_id].healthy
        assert seen[missing.instance_id].state == "missing"
        assert stage.provider.observe_many([]) == {}

    def test_each_changing_call_has_a_set_wise_twin(self, stage: Stage) -> None:
        first, second, missing = (stage.target(f"inst-{number}") for number in (1, 2, 3))
        both = [first.instance_id, second.instance_id]
        applied = stage.provider.apply_many([(first, "1.0.0"), (second, "1.1.0")])
        assert applied == dict.fromkeys(both)
        assert stage.provider.stop_many([first, second]) == dict.fromkeys(both)
        started = stage.provider.start_many([first, missing, second])
        assert [started[key] for key in both] == [None, None]
        assert isinstance(started[missing.instance_id], ProviderError)
        restarted = stage.provider.restart_many([(first, 2), (second, 1)])
        assert restarted == dict.fromkeys(both)
        assert stage.well(first).generation == 3
        assert stage.well(second).generation == 2
        assert stage.provider.observe(second).version == "1.1.0"


class TestReading:
    def test_logs_go_on_from_their_cursor(self, stage: Stage) -> None:
        target = stage.deployed()
        page = stage.provider.logs(target)
        assert page.lines
        assert stage.provider.logs(target, after=page.cursor).lines == []
        stage.provider.restart(target, generation=1)
        stage.well(target)
        since = stage.provider.logs(target, after=page.cursor)
        assert since.lines
        assert all(line.at >= page.lines[-1].at and line.at.tzinfo for line in since.lines)

    def test_the_limit_holds_and_the_newest_are_kept(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.start(target)
        stage.well(target)
        everything = stage.provider.logs(target).lines
        assert len(everything) >= 3
        assert stage.provider.logs(target, limit=2).lines == everything[-2:]

    def test_a_wrong_cursor_is_named(self, stage: Stage) -> None:
        with pytest.raises(ProviderError, match="'yesterday' is not a log cursor"):
            stage.provider.logs(stage.deployed(), after="yesterday")

    def test_metrics_tell_version_memory_and_cpu(self, stage: Stage) -> None:
        samples = {sample.name: sample for sample in stage.provider.metrics(stage.deployed())}
        assert samples["build_info"].labels["version"] == "1.0.0"
        assert samples["process_resident_memory_bytes"].value > 1e6
        assert samples["process_cpu_seconds_total"].value > 0

    def test_a_stopped_one_has_no_metrics(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        with pytest.raises(ProviderUnavailable, match="start it first"):
            stage.provider.metrics(target)

    def test_diagnostics_are_texts_without_secrets(self, stage: Stage) -> None:
        target = replace(stage.target("inst-1"), config={"database": {"password": "hunter2"}, "workers": 4})
        stage.provider.apply(target, version="1.0.0")
        stage.well(target)
        texts = stage.provider.diagnostics(target)
        assert {"process", "open files", "config", "log"} <= set(texts)
        assert all(isinstance(text, str) for text in texts.values())
        assert "hunter2" not in "".join(texts.values())

    def test_versions_are_told(self, stage: Stage) -> None:
        stage.deployed()
        assert "1.0.0" in stage.provider.versions()


class TestPlaces:
    def test_who_is_placed_there_is_served_and_nobody_else(self, stage: Stage) -> None:
        target = stage.deployed()
        provider = stage.provider
        assert provider.serves(target, ["acme", "globex", "initech"]) == {"acme", "globex"}
        moved = replace(target, tenants=("globex", "initech"))
        for _ in range(2):
            provider.place(moved)
            assert provider.serves(moved, ["acme", "globex", "initech"]) == {"globex", "initech"}
        assert provider.observe(target).generation == 1, "nothing restarts"

    def test_one_that_is_stopped_serves_nobody(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.stop(target)
        stage.provider.place(target)
        assert stage.provider.serves(target, ["acme"]) == set()

    def test_a_missing_one_has_no_place(self, stage: Stage) -> None:
        with pytest.raises(ProviderError, match="deploy a version first") as refused:
            stage.provider.place(stage.target("inst-1"))
        assert not refused.value.retryable


class TestScale:
    def test_it_tells_of_its_workers_at_once(self, stage: Stage) -> None:
        target = stage.deployed()
        assert stage.provider.workers(target) == 16
        for _ in range(2):
            stage.provider.scale(target, workers=4)
            assert stage.provider.workers(target) == 4
        assert stage.provider.observe(target).generation == 1, "nothing restarts"

    def test_a_stopped_or_missing_one_is_named(self, stage: Stage) -> None:
        with pytest.raises(ProviderError, match="deploy a version first"):
            stage.provider.scale(stage.target("inst-1"), workers=4)
        target = stage.deployed()
        stage.provider.stop(target)
        with pytest.raises(ProviderUnavailable, match="start it first"):
            stage.provider.workers(target)


class TestDisk:
    def test_what_can_be_cleared_goes_once(self, stage: Stage) -> None:
        target = stage.deployed()
        stage.provider.clear_disk(target)
        use = stage.provider.disk(target)
        assert use.clearable == 0
        stage.provider.clear_disk(target)
        assert stage.provider.disk(target).total <= use.total
        assert stage.well(target).generation == 1


class TestCommands:
    def test_what_is_offered_can_be_run(self, stage: Stage) -> None:
        target = stage.deployed()
        assert "status" in {command.name for command in stage.provider.commands(target)}
        result = stage.provider.run_command(target, "status", {}, key="operation-1")
        assert (result.exit_code, result.is_cut) == (0, False)
        assert "1.0.0" in result.output
        assert stage.provider.run_command(target, "status", {}, key="operation-1").exit_code == 0

    @pytest.mark.parametrize(
        ("name", "arguments", "complaint"),
        [
            ("rm", {}, "offers no command “rm”"),
            ("status", {"path": "/"}, "takes nothing, not path"),
            ("../app", {}, "offers no command"),
        ],
    )
    def test_what_is_not_offered_is_refused_for_good(
        self, stage: Stage, name: str, arguments: dict[str, str], complaint: str
    ) -> None:
        target = stage.deployed()
        with pytest.raises(ProviderError, match=complaint) as refused:
            stage.provider.run_command(target, name, arguments, key="operation-1")
        assert not refused.value.retryable
