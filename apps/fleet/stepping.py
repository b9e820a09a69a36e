"""Parts of kinds that act on instances one at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps.core.context import acting, current
from apps.operations.kinds import Failed, Outcome, Work, failure_of

from . import providers
from .models import Instance
from .providers.base import ProviderError, Target
from .targets import provider_targets


def each_provided(
    act: Callable[[Work, Any, Target], Outcome],
) -> Callable[[Sequence[Work]], dict[int, Outcome]]:
    """A step over one work at a time, with its provider and target; a fault of one stops no other."""

    def run(works: Sequence[Work]) -> dict[int, Outcome]:
        by_id = {
            pk: (name, target)
            for name, targets in provider_targets([w.target_id for w in works]).items()
            for pk, target in targets.items()
        }
        outcomes: dict[int, Outcome] = {}
        for work in works:
            if work.target_id not in by_id:
                outcomes[work.id] = Failed("There is no such instance any more.", retryable=False)
                continue
            name, target = by_id[work.target_id]
            try:
                outcomes[work.id] = act(work, providers.get(name), target)
            except ProviderError as error:
                outcomes[work.id] = failure_of(error)
        return outcomes

    return run


def want(work: Work, **columns: Any) -> None:
    """Write what is wanted of an instance, recorded as its operation's; it says so already: no effect."""
    act = current()
    with acting(act.actor if act else None, operation_id=work.id):
        Instance.objects.filter(pk=work.target_id).exclude(**columns).update(**columns)


def as_text(params: Mapping[str, Any], known: Sequence[str]) -> dict[str, str]:
    """Parameters as one line of text each, without the empty ones. Raises ValueError for those that are not known."""
    if extra := sorted(set(params) - set(known)):
        raise ValueError(f"This takes {', '.join(known)}, not {', '.join(extra)}.")
    return {name: text for name, value in params.items() if (text := " ".join(str(value).split()))}


def no_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """For a kind that takes none. Raises ValueError naming what was given."""
    if extra := [key for key, value in params.items() if value not in ("", None)]:
        raise ValueError(f"This takes no parameters; it was given {', '.join(sorted(extra))}.")
    return {}
