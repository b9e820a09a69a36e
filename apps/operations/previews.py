"""What a request would do, as the pages of one action and of many show it before anybody confirms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, QueryDict

from apps.access.choices import Permission
from apps.access.scoping import require

from . import selections
from .forms import ParamsForm
from .freezing import difference, freeze, thaw
from .kinds import Kind, TargetInfo, find_kind, find_target
from .models import Operation
from .params import all_given, breakdown_of, given
from .services import MAX_TARGETS, Plan, Refusal, Refused, plan

#: Lines of a preview that are spelled out; the rest is counted.
SHOWN = 50


@dataclass(slots=True)
class Preview:
    """What would happen to some targets. Without `plan`: the parameters are not chosen yet, or `error` says why."""

    kind: Kind
    target_ids: Sequence[int]
    form: ParamsForm
    plan: Plan | None = None
    error: str = ""
    digest: str = ""
    breakdown: list[tuple[str, int]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return (
            [self.plan.kind.preview(i.label, self.plan.params) for i in self.accepted[:SHOWN]]
            if self.plan
            else []
        )

    @property
    def accepted(self) -> list[TargetInfo]:
        return self.plan.accepted if self.plan else []

    @property
    def refused(self) -> list[Refusal]:
        return self.plan.refused if self.plan else []

    @property
    def shown_refused(self) -> list[Refusal]:
        return self.refused[:SHOWN]

    @property
    def waits(self) -> list[Operation]:
        return list(self.plan.waits.values())[:SHOWN] if self.plan else []

    @property
    def more_accepted(self) -> int:
        return max(0, len(self.accepted) - SHOWN)

    @property
    def more_refused(self) -> int:
        return max(0, len(self.refused) - SHOWN)


def preview(kind: Kind, target_ids: Sequence[int], data: Mapping[str, str], user: Any) -> Preview:
    """Plan what a form asks for; nothing is planned before each parameter is given."""
    chosen = given(kind.name, data)
    made = Preview(
        kind,
        target_ids,
        ParamsForm(initial=chosen, kind=kind.name, target_ids=target_ids[:1_000]),
        digest=urlencode(chosen),
    )
    if not all_given(kind.name, chosen):
        return made
    try:
        made.plan = plan(kind=kind.name, target_ids=target_ids, params=chosen, actor=user)
    except Refused as refusal:
        made.error = str(refusal)
        return made
    if len(target_ids) > 1:
        made.breakdown = breakdown_of(kind.target_type, [info.id for info in made.plan.accepted])
    return made


def was_previewed(kind: Kind, data: Mapping[str, str]) -> bool:
    """Whether the form was sent with every parameter given, and with the very ones whose preview it showed."""
    chosen = given(kind.name, data)
    return all_given(kind.name, chosen) and urlencode(chosen) == data.get("previewed", "")


def find_action(user: Any, kind: str, target_id: int, *, permission: bool) -> tuple[Kind, TargetInfo]:
    """A kind and its target as the user may see them; Http404, and with `permission` PermissionDenied."""
    try:
        found = find_kind(kind)
    except LookupError as error:
        raise Http404(str(error)) from error
    target = find_target(found.target_type)
    obj = target.model._default_manager.filter(pk=target_id).first()
    infos = target.describe([target_id])
    if obj is None or target_id not in infos:
        raise Http404(f"There is no such {found.target_type}.")
    require(user, Permission.VIEW, obj)
    if permission:
        require(user, found.permission, obj)
    return found, infos[target_id]


# --- Many at once --------------------------------------------------------------------------------


@dataclass(slots=True)
class Selection:
    """The targets of a bulk request. `changed`: what came and went since the preview, in words."""

    kind: Kind
    ids: list[int]
    all_matching: bool
    query: str
    frozen: str
    changed: str = ""


def read_selection(user: Any, data: QueryDict) -> Selection:
    """The targets that a bulk form names: ticked rows, the frozen ids of its preview, or all that match.

    Raises Refused when the form makes no sense.
    """
    try:
        kind = find_kind(data.get("kind", ""))
        before = thaw(data.get("frozen", "")) if "frozen" in data else None
        all_matching = data.get("all_matching") == "1"
        if all_matching:
            ids = _matching(user, kind, data.get("query", ""))
        else:
            ids = before if before is not None else [int(pk) for pk in data.getlist("selected")]
    except (LookupError, ValueError) as error:
        raise Refused(str(error)) from error
    if not ids and before is None:
        raise Refused("Nothing is selected; tick some rows first.")
    changed = difference(before, ids) if before is not None else ""
    return Selection(kind, ids, all_matching, data.get("query", ""), freeze(ids), changed)


def _matching(user: Any, kind: Kind, query: str) -> list[int]:
    rows = selections.select(kind.target_type, user, QueryDict(query.lstrip("?")))
    return list(rows.order_by("pk").values_list("pk", flat=True)[: MAX_TARGETS + 1])
