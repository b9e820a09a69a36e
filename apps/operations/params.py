"""What upper floors offer to the forms of an action: choices of a parameter, and how its targets are counted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Choices = Callable[[Sequence[int]], Sequence[str]]
Breakdown = Callable[[Sequence[int]], Sequence[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a kind, as a form asks for it. `choices` from target ids; none known: free text."""

    name: str
    label: str
    choices_of: Choices | None = None
    is_optional: bool = False

    def choices(self, target_ids: Sequence[int]) -> list[str]:
        """The values to choose from, best first."""
        return list(self.choices_of(target_ids)) if self.choices_of else []


@dataclass(slots=True)
class _Registry:
    params: dict[str, dict[str, Param]] = field(default_factory=dict)
    breakdowns: dict[str, Breakdown] = field(default_factory=dict)


_known = _Registry()


def register_param_choices(
    kind: str, param: str, choices: Choices | None, *, label: str = "", is_optional: bool = False
) -> None:
    """Have forms of `kind` ask for `param`; `choices(target_ids)` gives the values that make sense there.

    Without choices, or where they come out empty, the form has a text field; an optional one may stay empty.
    """
    _known.params.setdefault(kind, {})[param] = Param(
        param, label or param.capitalize(), choices, is_optional
    )


def params_of(kind: str) -> list[Param]:
    """The parameters that a form of this kind asks for."""
    return list(_known.params.get(kind, {}).values())


def all_given(kind: str, values: Mapping[str, str]) -> bool:
    """Whether every parameter that has to be there is."""
    return all(p.is_optional or p.name in values for p in params_of(kind))


def register_breakdown(target_type: str, count: Breakdown) -> None:
    """Tell how a preview counts many targets: `count(target_ids)` gives (label, number), such as by cell."""
    _known.breakdowns[target_type] = count


def breakdown_of(target_type: str, target_ids: Sequence[int]) -> list[tuple[str, int]]:
    """The counts of a preview, largest first; none where the target type did not tell how."""
    count = _known.breakdowns.get(target_type)
    return sorted(count(target_ids), key=lambda pair: (-pair[1], pair[0])) if count and target_ids else []


def given(kind: str, data: Mapping[str, str]) -> dict[str, str]:
    """The parameters of `kind` that a form sent, without the empty ones."""
    return {p.name: value for p in params_of(kind) if (value := " ".join(data.get(p.name, "").split()))}
