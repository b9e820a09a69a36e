"""Providers by name, the command of `make down`, and the reader of metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from apps.fleet import providers
from apps.fleet.providers import exposition
from apps.fleet.providers.base import Sample
from apps.fleet.providers.local.provider import LocalProvider

from .conftest import Stage


def test_each_is_built_once() -> None:
    assert providers.get("simulated") is providers.get("simulated")
    assert {"local", "simulated"} <= set(providers.names())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="no provider is named 'cloud'; there are: local, simulated"):
        providers.get("cloud")


def test_the_local_one_lives_in_the_data_directory(settings: Settings, tmp_path: Path) -> None:
    settings.DAYTWO_DATA_DIR = tmp_path
    assert providers._local().root == tmp_path / "fleet"


def test_make_down_stops_the_fleet_and_tells_whom(
    local: LocalProvider,
    local_stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    local_stage.deployed()
    monkeypatch.setitem(providers._built, "local", local)
    call_command("stop_local_fleet")
    assert capsys.readouterr().out == "Stopped: inst-1\n"
    assert local.running() == []
    call_command("stop_local_fleet")
    assert "No process of the local fleet was running." in capsys.readouterr().out


def test_the_text_format_is_read_with_its_escapes_and_specials() -> None:
    text = """# HELP a b
# TYPE a counter
a{x="1,2",y="say \\"}\\""} 3 1700000000
b 1e3
c{} +Inf
not a sample
d nonsense
"""
    assert exposition.parse(text) == [
        Sample("a", {"x": "1,2", "y": 'say "}"'}, 3.0),
        Sample("b", {}, 1000.0),
        Sample("c", {}, float("inf")),
    ]
