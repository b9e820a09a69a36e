"""What holds for all pages: nothing that the content security policy forbids, colours that can be read, known scripts."""

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*.html") if "admin" not in path.parts)
FORBIDDEN = {
    "a style attribute": r"<[^>%]*\sstyle\s*=",
    "an inline handler": r"<[^>%]*\son[a-z]+\s*=",
    "hx-on": r"\bhx-on\b",
    "a script in an attribute": r'"js(?:on)?:|javascript:',
    "a filter in hx-trigger": r'hx-trigger="[^"]*(?<!find )\b(?:click|change|input|submit|keyup|keydown)\[',
    "an address of another host": r'(?:src|href)="(?:https?:)?//',
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_has_nothing_that_the_policy_forbids(path: Path) -> None:
    source = re.sub(r"{% comment %}.*?{% endcomment %}", "", path.read_text(), flags=re.S)
    found = [name for name, pattern in FORBIDDEN.items() if re.search(pattern, source)]
    scripts = re.findall(r"<script\b[^>]*>", source)
    inline = [tag for tag in scripts if "src=" not in tag and "application/json" not in tag]
    assert not found + inline


def test_vendored_files_are_those_of_the_lock() -> None:
    vendor = ROOT / "static" / "vendor"
    lock = json.loads((vendor / "vendor.lock.json").read_text())
    locked = {name: digest for package in lock.values() for name, digest in package["files"].items()}
    there = {
        str(path.relative_to(vendor)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != "vendor.lock.json"
    }
    assert there == locked


# --- WCAG 2.2, 1.4.3 and 1.4.11: relative luminance and contrast as defined there ------------------

TEXT = """ink panel · ink bg · ink-2 panel · ink-2 bg · ink-3 panel · ink-3 bg · ink-2 idle-soft · ink-2 flash · ink accent-soft
ink-2 accent-soft · ink-2 warn-soft · ink-2 bad-soft · accent panel · accent bg · accent accent-soft · on-accent accent
ok panel · ok ok-soft · warn warn-soft · bad panel · bad bad-soft"""
SHAPES = "ok panel · warn panel · bad panel · busy panel · ctl panel"


def themes() -> dict[str, dict[str, str]]:
    source = (ROOT / "static/css/tokens.css").read_text()
    blocks = dict(re.findall(r'^(:root|\[data-theme="dark"\]) \{(.*?)^\}', source, flags=re.S | re.M))
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in blocks.values())
    return {"light": light, "dark": {**light, **dark}}


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(d * 2 for d in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (SHAPES, 3.0)])
def test_colours_can_be_read(theme: str, pairs: str, least: float) -> None:
    tokens = themes()[theme]
    for pair in re.split(r" · |\n", pairs):
        front, ground = pair.split()
        ratio = contrast(tokens[front], tokens[ground])
        assert ratio >= least, f"{theme}: --{front} on --{ground} has {ratio:.2f}, needs {least}"


def test_dark_by_choice_and_dark_by_the_system_are_the_same() -> None:
    source = (ROOT / "static/css/tokens.css").read_text()
    chosen = re.search(r'^\[data-theme="dark"\] \{(.*?)^\}', source, flags=re.S | re.M)
    system = re.search(r":root:not\(\[data-theme\]\) \{(.*?)^  \}", source, flags=re.S | re.M)
    assert chosen and system
    assert chosen[1].split() == system[1].split()
