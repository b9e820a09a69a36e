"""Scale: how many requests an instance has in hand at once. Seen to be so by its own word, and put back if it is not."""

from collections.abc import Callable, Mapping
from typing import Any

from apps.access.choices import Permission
from apps.operations.kinds import Done, Failed, Kind, Later, Outcome, Step, Work

from ..models import Instance
from ..providers.base import ProviderError, ProviderUnavailable, Target
from ..stepping import as_text, each_provided, want

#: Fewest and most workers of one instance.
FEWEST, MOST = 1, 64
#: Seconds between two looks, and until one that does not tell the new number has failed.
LOOK, PATIENCE = 0.3, 10.0


def _note(work: Work, provider: Any, target: Target) -> Outcome:
    return Done(f"{target.workers} workers wanted so far", {"before": target.workers})


def _set(workers_of: Callable[[Work], int]) -> Callable[[Work, Any, Target], Outcome]:
    def act(work: Work, provider: Any, target: Target) -> Outcome:
        want(work, workers=workers_of(work))
        provider.scale(target, workers=workers_of(work))
        return Done(f"{workers_of(work)} workers wanted")

    return act


def _see(workers_of: Callable[[Work], int]) -> Callable[[Work, Any, Target], Outcome]:
    def act(work: Work, provider: Any, target: Target) -> Outcome:
        waited = (work.now() - work.step_started_at).total_seconds()
        try:
            seen = provider.workers(target)
        except ProviderUnavailable as error:
            if Instance.objects.filter(pk=work.target_id, wanted="stopped").exists():
                return Done("it is stopped, and has them from its next start")
            return Failed(str(error), retryable=False) if waited > PATIENCE else Later(LOOK, str(error))
        except ProviderError as error:
            return Failed(str(error), retryable=False)
        if seen == workers_of(work):
            return Done(f"it tells of {seen} workers")
        why = f"it tells of {seen} workers"
        return (
            Failed(f"Not so after {PATIENCE:g} s: {why}.", retryable=False)
            if waited > PATIENCE
            else Later(LOOK, why)
        )

    return act


def _asked(work: Work) -> int:
    return int(work.params["workers"])


def _before(work: Work) -> int:
    return int(work.notes["before"])


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    given = as_text(params, ("workers",)).get("workers", "")
    if not given.isascii() or not given.isdigit() or not FEWEST <= int(given[:6]) <= MOST:
        raise ValueError(f"Say how many workers, from {FEWEST} to {MOST}.")
    return {"workers": str(int(given))}


SCALE = Kind(
    name="scale",
    label="Scale",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(
        Step("look", each_provided(_note), timeout=30),
        Step("set", each_provided(_set(_asked)), timeout=30),
        Step("see it", each_provided(_see(_asked)), timeout=PATIENCE + 30),
    ),
    undo=(Step("put back", each_provided(_set(_before)), timeout=30),),
    undo_from=1,
    check_params=_params,
    preview=lambda label, params: (
        f"{label} has {params.get('workers', '…')} requests in hand at once, the others wait; nothing restarts"
    ),
)
