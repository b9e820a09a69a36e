"""What ships: requirements, Makefile, image, compose file, and that none of them names a registry's address."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from portal.stack.state import ROOT

REQUIREMENTS = ROOT / "requirements"
# In pieces, so that this file is not a finding of its own.
REGISTRIES = ["pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org"]
SERVICES = {"web", "worker", "scheduler", "migrate", "postgres", "rabbitmq"}


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_names_a_registry() -> None:
    addresses = re.compile("|".join(map(re.escape, REGISTRIES)).encode())
    found = [str(p.relative_to(ROOT)) for p in tracked_files() if addresses.search(p.read_bytes())]
    assert found == []


@pytest.mark.parametrize("name", ["base", "local", "dev"])
def test_requirements_are_pinned_with_hashes_and_complete(name: str) -> None:
    pinned = (REQUIREMENTS / f"{name}.txt").read_text()
    assert not re.search(r"https?:|file:|--index|--find-links", pinned)
    packages = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==", pinned, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9._-]+(?:\[[^]]*\])?==)", pinned, flags=re.MULTILINE)[1:]
    assert packages and all("--hash=sha256:" in block for block in blocks)
    wanted = re.findall(r"^([A-Za-z0-9._-]+)", (REQUIREMENTS / f"{name}.in").read_text(), re.MULTILINE)
    names = {n.lower().replace("_", "-") for n in wanted if not n.startswith("-")}
    assert names - set(packages) == set(), "run: make lock"


@pytest.mark.parametrize("smaller,larger", [("base", "local"), ("local", "dev")])
def test_development_runs_on_the_versions_that_ship(smaller: str, larger: str) -> None:
    def pins(name: str) -> set[tuple[str, str]]:
        text = (REQUIREMENTS / f"{name}.txt").read_text()
        return set(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE))

    assert pins(smaller) - pins(larger) == set(), "run: make lock"


@pytest.mark.parametrize(
    "target", ["up", "down", "test", "bench", "lint", "lock", "format", "chaos", "docs-shots"]
)
def test_make_knows_the_target_and_help_tells_of_it(target: str) -> None:
    assert re.search(rf"^{target}:.*## \w", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def test_compose_has_the_services_and_every_one_says_how_it_is(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == SERVICES
    for name, service in compose["services"].items():
        assert "image" in service, name
        assert service.get("healthcheck"), name


def test_compose_waits_for_what_is_named_and_can_become_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, name
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"].get("test"), other


def test_compose_mounts_only_volumes_that_it_declares(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert {mount.split(":")[0] for mount in service.get("volumes", [])} <= set(compose["volumes"])


def test_compose_has_no_secret_in_it_and_refuses_to_start_without_one(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("SECRET|PASS|_URL", name) and name != "EMAIL_URL":
                assert ":?set " in value, name


def test_compose_opens_no_port_to_the_network(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_settings_are_documented(compose: dict[str, Any]) -> None:
    documented = (ROOT / "docs/reference/settings.md").read_text()
    missing = [name for name in compose["services"]["web"]["environment"] if f"`{name}`" not in documented]
    assert missing == []


def test_the_image_runs_as_nobody_in_particular_and_keeps_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER \d+", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert "SECRET_KEY" not in last_stage
    assert "--require-hashes" in text


def test_ci_is_a_script_that_stops_at_the_first_failure() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_every_setting_that_is_read_is_documented() -> None:
    text = (ROOT / "portal/settings.py").read_text()
    read = set(re.findall(r'env(?:\.\w+)?\(\s*"([A-Z][A-Z0-9_]+)"', text))
    documented = (ROOT / "docs/reference/settings.md").read_text()
    assert [name for name in sorted(read) if f"`{name}`" not in documented] == []
