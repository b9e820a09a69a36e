"""Size, names and places, so that the house stays one that newcomers find their way in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS, TEMPLATES = ROOT / "apps", ROOT / "templates"
SOURCES = sorted(p for p in APPS.rglob("*.py") if "migrations" not in p.parts)

MOST_LINES, MOST_OF_A_FUNCTION = 400, 60
#: Files that may be longer, and why.
LONG = {
    "core/templatetags/ui.py": "the built-in tags are one library; a second would have to be loaded by every template",
    "fleet/providers/local/product.py": "a program of its own, copied as one file into each version's directory",
}
#: Where SQL is written by hand, and why the trail does not miss anything by it.
RAW_SQL = {
    "access/shell_views.py": "SELECT 1 of the health check",
    "core/paging.py": "EXPLAIN for an estimate",
    "core/partitions.py": "makes and drops partitions of events and measurements, which are exempt",
    "core/retention.py": "drops months of events, which are exempt",
    "alerts/rules/measuring.py": "SELECT of figures over the coarse history",
    "fleet/certificates/looking.py": "an advisory lock: one inventory at a time",
    "operations/engine.py": "leases and states, all in Operation.AUDIT_EXCLUDE, told as events",
    "operations/services.py": "nextval: ids ahead of the insert, which is recorded",
    "operations/runner.py": "LISTEN/NOTIFY and looks at what is due",
    "operations/management/commands/run_scheduler.py": "the scheduler's advisory lock",
    "fleet/observing.py": "what probes saw, in Instance.AUDIT_EXCLUDE, told as events",
    "fleet/looks.py": "when to look next: claims and due times of probes, which are exempt",
    "fleet/providers/simulated.py": "the simulated world, which is exempt",
    "fleet/search.py": "reads only",
    "cost/allocating.py": "tables of bill lines in DuckDB",
    "cost/focus_out.py": "COPY of facts, out",
    "cost/keeping.py": "months of expected revenue, which are exempt: reckoned from rows that are recorded",
    "cost/loading.py": "COPY of facts, which are exempt; the run that made them is recorded",
    "cost/queries/cutting.py": "SELECT of sums over rows that `visible` narrowed",
    "cost/queries/earned.py": "SELECT of sums over rows that `visible` narrowed",
    "cost/queries/lines.py": "reads bill lines in DuckDB",
    "cost/importing.py": "reads bill lines in DuckDB",
    "cost/locks.py": "advisory locks",
    "tenants/search.py": "reads only",
    "audit/checking.py": "reads the trail and its seals",
    "audit/exports.py": "reads the trail",
    "audit/naming.py": "reads the trail",
    "audit/partitions.py": "makes partitions of the trail, as the owner of the tables",
    "audit/retiring.py": "reads the trail's partitions, drops those that are archived and signed for, and tells it",
    "audit/roles.py": "the database role's grants, run by the owner of the tables",
    "audit/sealing.py": "the sealer's advisory lock, and reads of the trail",
    "audit/seals.py": "reads the trail and its seals",
    "audit/streaming.py": "reads the sealed trail",
    "releases/totals.py": "SELECT of what scopes hold, for limits of the blast radius",
    "releases/driving.py": "rollouts' targets follow their operations; both are told as events",
    "releases/asking.py": "rollout targets are exempt: the operations they ask for are recorded",
    "releases/exposing.py": "exposures, which are computed and exempt; the watcher's advisory lock",
    "releases/crossing.py": "the advisory lock under which rollouts begin",
    "releases/matching.py": "the lock under which advisories and SBOMs come in",
    "releases/guarding.py": "the advisory lock of the blast radius",
    "releases/targets.py": "the frozen set of a rollout, whose rows are exempt; the rollout is recorded",
    "alerts/intake.py": "counters and seen signatures, which are exempt",
    "alerts/processing.py": "the processor's advisory lock",
    "alerts/recovery.py": "the decider's advisory lock",
    "fleet/seeding.py": "COPY of a first fleet, with its audit entries by COPY beside it",
}
#: Ways to write past the trail. Each is for the module that answers for it.
UNRECORDED = {
    "create_unrecorded(": {
        "core/querysets.py": "defines it",
        "access/services.py": "system actors are made by nobody",
        "operations/services.py": "set-wise submission writes the entries itself; batches are exempt",
    },
    "QuerySet.update(": {"core/querysets.py": "the recorded update itself"},
    "models.QuerySet(": {"core/querysets.py": "inserts the entries"},
    "_raw_delete": {"audit/models.py": "refuses it"},
    "disable_auditlog": {},
    ".raw(": {},
    ".through.": {},
}
BENCHES = "benches"


def name(path: Path) -> str:
    return str(path.relative_to(APPS))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_has_one_subject(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if name(path) in LONG:
        assert lines > MOST_LINES, "it has become short; take it off the list"
    else:
        assert lines <= MOST_LINES, f"{lines} lines: it has two subjects"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_function_can_be_seen_at_once(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno
            assert lines <= MOST_OF_A_FUNCTION, f"{node.name} has {lines} lines"


def test_nothing_is_called_utils() -> None:
    assert [name(p) for p in SOURCES if p.stem in ("utils", "util", "helpers", "misc", "common")] == []


def test_every_module_says_what_it_is() -> None:
    """Beside what Django makes: empty packages and app configurations."""
    silent = [
        p
        for p in SOURCES
        if p.name not in ("__init__.py", "apps.py") and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    silent = [p for p in silent if "management" not in p.parts or not p.read_text().startswith('"""')]
    assert [name(p) for p in silent] == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_sql_by_hand_is_known(path: Path) -> None:
    text = path.read_text()
    writes = bool(re.search(r"\.execute\(|\.executemany\(|\.copy\(\s*[\"f]", text)) and "cursor" in text
    if writes and BENCHES not in path.parts:
        assert name(path) in RAW_SQL, "say in RAW_SQL why the trail misses nothing by it"


@pytest.mark.parametrize("way", UNRECORDED)
def test_ways_past_the_trail_are_known(way: str) -> None:
    users = {name(p) for p in SOURCES if way in p.read_text() and BENCHES not in p.parts}
    assert users == set(UNRECORDED[way])


def test_lists_name_files_that_are_there() -> None:
    assert [n for n in (*LONG, *RAW_SQL) if not (APPS / n).exists()] == []


PAGES = sorted(TEMPLATES.rglob("*.html"))
INLINE = re.compile(r"<[^>]*\s(?:style|on[a-z]+|hx-on[^=]*)\s*=", re.IGNORECASE)
SCRIPT = re.compile(r"<script\b(?![^>]*\bsrc=)(?![^>]*type=[\"']application/json)", re.IGNORECASE)
COMMENT = re.compile(r"{%\s*comment.*?endcomment\s*%}|{#.*?#}", re.DOTALL)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(TEMPLATES)))
def test_a_page_has_nothing_the_policy_would_stop(path: Path) -> None:
    text = COMMENT.sub("", path.read_text())
    assert INLINE.findall(text) == []
    assert SCRIPT.findall(text) == []
    assert "<style" not in text
    assert "javascript:" not in text
    assert "|safe" not in text or "help_text|safe" in text, "text from outside would be markup"


def clocked(path: Path) -> list[int]:
    """Lines that assert how long something took by the wall's clock.

    A deadline in a loop that waits (`assert time.monotonic() < deadline`) only ends a test that would hang.
    """
    tree = ast.parse(path.read_text())
    clocks = {"perf_counter", "monotonic", "time"}

    def reads_clock(node: ast.AST) -> bool:
        return any(
            isinstance(one, ast.Call)
            and (
                name := one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            )
            and name in clocks
            and not one.args
            for one in ast.walk(node)
        )

    def subtracts(node: ast.AST) -> bool:
        return any(
            isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) and reads_clock(one)
            for one in ast.walk(node)
        )

    took = {
        target.id
        for one in ast.walk(tree)
        if isinstance(one, ast.Assign) and subtracts(one.value)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    return [
        one.lineno
        for one in ast.walk(tree)
        if isinstance(one, ast.Assert)
        and (subtracts(one.test) or any(isinstance(n, ast.Name) and n.id in took for n in ast.walk(one.test)))
    ]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_test_asserts_a_wall_time(path: Path) -> None:
    """A busy machine fails nobody: how long things take is `make bench`'s to say."""
    assert clocked(path) == []


def test_no_property_has_a_deadline() -> None:
    """Hypothesis gives each example 200 ms unless it is told otherwise."""
    assert hypothesis.settings().deadline is None
