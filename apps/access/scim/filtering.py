"""SCIM filters as Q objects, and the paths of PATCH (RFC 7644, 3.4.2.2 and 3.5.2).

scim2-filter-parser reads the text; what its tree means here, we say ourselves, column by column: nothing that a
client sends becomes SQL. `eq` with `and`, `or`, `not` is what directories ask with; anything else is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from scim2_filter_parser import ast
from scim2_filter_parser.lexer import SCIMLexer
from scim2_filter_parser.parser import SCIMParser, SCIMParserError

from .errors import ScimError

#: Characters of a filter or path at most; what is deeper than its length cannot be.
LONGEST = 400
CORE = "urn:ietf:params:scim:schemas:core:2.0:user"
CORES = (CORE, CORE.replace("user", "group"))
Columns = Mapping[str, Callable[[str], Q]]


@dataclass(frozen=True, slots=True)
class Path:
    """A place that PATCH names: `emails[type eq "work"].value` is emails, value, ("type", "work"). Lower case."""

    attribute: str
    sub: str = ""
    where: tuple[str, str] | None = None


def _bad(kind: str, what: str) -> ScimError:
    return ScimError(400, what, kind)


def _parsed(text: str, kind: str) -> Any:
    if len(text) > LONGEST or "\x00" in text:
        raise _bad(kind, f"It must be text of {LONGEST} characters at most.")
    try:
        tree = SCIMParser().parse(SCIMLexer().tokenize(text))
    except (SCIMParserError, ValueError, RecursionError) as error:
        raise _bad(kind, f"Not understood: {text[:80]}") from error
    if tree is None:
        raise _bad(kind, "It is empty.")
    return tree


def condition(text: str, columns: Columns) -> Q:
    """The filter as a Q over `columns` (lower-case attribute → condition). Raises ScimError invalidFilter."""
    return _q(_parsed(text, "invalidFilter"), columns)


def _q(node: Any, columns: Columns) -> Q:
    if isinstance(node, ast.Filter):
        if node.namespace is not None:
            raise _bad(
                "invalidFilter", "Filter by attribute.sub eq value; brackets are for the paths of PATCH."
            )
        found = _q(node.expr, columns)
        return ~found if node.negated else found
    if isinstance(node, ast.LogExpr):
        one, other = _q(node.expr1, columns), _q(node.expr2, columns)
        return one & other if node.op.lower() == "and" else one | other
    name = _name(node.attr_path)
    if node.value.lower() != "eq" or name not in columns:
        raise _bad("invalidFilter", f"Filter by eq on one of: {', '.join(columns)}.")
    return columns[name](str(node.comp_value.value))


def _name(path: Any) -> str:
    """attribute or attribute.sub, in lower case; of emails[type eq "work"].value what is before and behind."""
    inner = path.attr_name.namespace if isinstance(path.attr_name, ast.Filter) else path
    return ".".join(
        part.lower() for part in (str(inner.attr_name), inner.sub_attr and inner.sub_attr.value) if part
    )


def path(text: str) -> Path:
    """The place that a PATCH operation names. Raises ScimError invalidPath."""
    tree = _parsed(f'{text} eq ""', "invalidPath")
    leaf = tree.expr if isinstance(tree, ast.Filter) else None
    if not isinstance(leaf, ast.AttrExpr):
        raise _bad("invalidPath", f"Name one attribute, not: {text[:80]}")
    attribute, _, sub = _name(leaf.attr_path).partition(".")
    if (leaf.attr_path.uri or CORE).lower() not in CORES:
        return Path(f"{leaf.attr_path.uri.lower()}:{attribute}", sub)  # an extension's, which nobody keeps
    if not isinstance(leaf.attr_path.attr_name, ast.Filter):
        return Path(attribute, sub)
    inside = leaf.attr_path.attr_name.expr
    while isinstance(inside, ast.Filter) and inside.namespace is None and not inside.negated:
        inside = inside.expr
    if not isinstance(inside, ast.AttrExpr) or inside.value.lower() != "eq":
        raise _bad("invalidPath", "In brackets only: attribute eq value.")
    return Path(attribute, sub, (_name(inside.attr_path), str(inside.comp_value.value)))
