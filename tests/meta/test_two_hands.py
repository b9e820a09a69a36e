"""Whoever decides as the second person is asked about by `hands`: nobody is two persons by a second account of theirs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.db import models

from apps.access.models import User

APPS = Path(__file__).resolve().parents[2] / "apps"

#: Columns that name a second person, beside one who asked: by whoever writes them, `hands` is asked.
SECOND = {
    "operations.Operation.approved_by",
    "operations.ApprovalRuleChange.decided_by",
    "access.AccessRequest.decided_by",
    "access.BreakGlass.reviewed_by",
    "access.ReviewItem.decided_by",
    "releases.Hold.overridden_by",
    "releases.BlastPolicy.raised_by",
    "alerts.RecoveryDecision.approved_by",
}
#: Functions that write such a column and ask nobody, with the reason.
ASKS_NOBODY = {
    ("operations/rules.py", "_end"): "called by `decide_change`, which asks, and for what is overtaken",
    ("access/reviewing.py", "evidence"): "reads it",
}
#: What asks: `hands` itself, or what goes through it.
ASKS = {"objection", "counting", "approvable", "_require_second", "why_not_review", "_not_a_second_person"}
#: How columns of a second person are called.
WORDS = (
    "approved_by",
    "decided_by",
    "reviewed_by",
    "overridden_by",
    "raised_by",
    "agreed_by",
    "confirmed_by",
)


def columns() -> Iterator[str]:
    """Every column that names a person who decided."""
    for model in apps.get_models():
        if not model.__module__.startswith("apps."):
            continue
        for field in model._meta.concrete_fields:
            if isinstance(field, models.ForeignKey) and field.related_model is User and field.name in WORDS:
                yield f"{model._meta.app_label}.{model.__name__}.{field.name}"


def writers() -> Iterator[tuple[str, str, ast.AST]]:
    """Every function that writes a column of such a name to a person: as an attribute, a keyword or a key."""
    for path in sorted(APPS.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(_writes(inner) for inner in ast.walk(node)):
                yield str(path.relative_to(APPS)), node.name, node


def _writes(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.attr in WORDS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        names = {keyword.arg for keyword in node.keywords}
        of_writing = node.func.attr in ("update", "create", "unrecorded_update", "bulk_create")
        return of_writing and bool(names & {*WORDS, *(f"{word}_id" for word in WORDS)})
    if isinstance(node, ast.Dict):
        return any(isinstance(key, ast.Constant) and key.value in WORDS for key in node.keys)
    return False


def _names(node: ast.AST) -> set[str]:
    calls = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


def test_every_column_of_a_decision_is_told_of() -> None:
    """A new one is added to SECOND, and whoever writes it asks `hands`."""
    assert set(columns()) == SECOND


def test_whoever_writes_one_asks() -> None:
    found = {(path, name): node for path, name, node in writers()}
    silent = {key for key, node in found.items() if not ASKS & _names(node)}
    assert silent - set(ASKS_NOBODY) == set()
    assert set(ASKS_NOBODY) <= silent, "exempt, and asks or is gone"
