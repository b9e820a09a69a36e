"""Parts of kinds that act on instances one at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps.operations.kinds import Failed, Outcome, Work, failure_of

from . import providers
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


def no_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """For a kind that takes none. Raises ValueError naming what was given."""
    if extra := [key for key, value in params.items() if value not in ("", None)]:
        raise ValueError(f"This takes no parameters; it was given {', '.join(sorted(extra))}.")
    return {}
