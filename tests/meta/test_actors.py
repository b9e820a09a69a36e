"""Each Dramatiq actor calls exactly one service, and nothing else: the work has one home, and tests can call it."""

from __future__ import annotations

import ast
from pathlib import Path

import dramatiq
import pytest
from django.utils.module_loading import autodiscover_modules

from portal.apps import MAX_CONNECTIONS

APPS = Path(__file__).resolve().parents[2] / "apps"


def actors() -> list[tuple[str, ast.FunctionDef]]:
    """Functions of `actors.py` files that are decorated as actors."""
    return [
        (f"{path.parent.name}.{node.name}", node)
        for path in sorted(APPS.glob("*/actors.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any("actor" in ast.unparse(d) for d in node.decorator_list)
    ]


def test_there_are_some() -> None:
    assert len(actors()) >= 2


@pytest.mark.parametrize(("name", "node"), actors(), ids=[name for name, _ in actors()])
def test_it_calls_one_service(name: str, node: ast.FunctionDef) -> None:
    assert ast.get_docstring(node), f"{name} says nothing about itself"
    body = [
        statement
        for statement in node.body
        if not isinstance(statement, ast.Expr | ast.Return) or not is_text(statement)
    ]
    assert len(body) == 1, f"{name} does more than one thing"
    (statement,) = body
    assert isinstance(statement, ast.Expr | ast.Return) and isinstance(statement.value, ast.Call), (
        f"{name} calls nothing"
    )
    calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
    assert len(calls) == 1, f"{name} calls more than one service"


@pytest.mark.parametrize(("name", "node"), actors(), ids=[name for name, _ in actors()])
def test_it_names_its_queue_and_its_retries(name: str, node: ast.FunctionDef) -> None:
    (decorator,) = [d for d in node.decorator_list if isinstance(d, ast.Call)]
    assert {"queue_name", "max_retries"} <= {keyword.arg for keyword in decorator.keywords}


def is_text(statement: ast.Expr | ast.Return) -> bool:
    return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def test_actors_live_in_files_of_that_name() -> None:
    elsewhere = [
        str(path.relative_to(APPS))
        for path in APPS.rglob("*.py")
        if path.name != "actors.py" and "dramatiq.actor" in path.read_text()
    ]
    assert elsewhere == []


@pytest.mark.parametrize(("name", "node"), actors(), ids=[name for name, _ in actors()])
def test_it_waits_in_no_queue(name: str, node: ast.FunctionDef) -> None:
    """Delay queues are not listened to (see portal/worker.py): a message that is put off would never come."""
    assert any("max_retries=0" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_a_worker_has_a_connection_for_each_queue() -> None:
    autodiscover_modules("actors")
    assert len(dramatiq.get_broker().queues) + 8 <= MAX_CONNECTIONS
