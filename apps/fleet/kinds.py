"""What can be done to an instance, step by step. Each step looks first and acts only where reality differs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.access.choices import Permission
from apps.core.arrays import among
from apps.core.context import acting, current
from apps.core.texts import storable
from apps.operations.kinds import Done, Failed, Kind, Later, Outcome, Step, Work, failure_of

from . import providers
from .choices import Wanted
from .models import Diagnostics, Instance
from .observing import look_begins, record_observations
from .providers.base import Observation, ProviderError, Target
from .stepping import no_params
from .targets import provider_targets

#: Seconds between two looks at an instance that is not ready yet.
LOOK = 0.3
#: Seconds after which one that was started and is seen stopped has crashed.
CRASHED = 1.0
#: Seconds a new version must stay healthy before it counts as deployed.
SOAK = 1.0
#: Seconds a new version may be unhealthy before the old one comes back.
PATIENCE = 12.0

Acts = Callable[[Any, Sequence[tuple[Work, Target]]], Mapping[int, ProviderError | None]]


def _by_provider(works: Sequence[Work]) -> list[tuple[Any, list[tuple[Work, Target]]]]:
    """Works with their targets, grouped by the provider that serves them."""
    found = provider_targets([work.target_id for work in works])
    return [
        (
            providers.get(name),
            [(work, targets[work.target_id]) for work in works if work.target_id in targets],
        )
        for name, targets in found.items()
    ]


def _observe(works: Sequence[Work]) -> dict[int, Observation]:
    """What is there now, by instance id; kept, so that pages show it at once."""
    seen: dict[int, Observation] = {}
    since = look_begins()
    for provider, pairs in _by_provider(works):
        seen.update(provider.observe_many([target for _, target in pairs]))
    record_observations(seen, since=since)
    return seen


def _look(judge: Callable[[Work, Observation], Outcome]) -> Callable[[Sequence[Work]], dict[int, Outcome]]:
    """A step that observes all its works together and judges each."""

    def run(works: Sequence[Work]) -> dict[int, Outcome]:
        seen = _observe(works)
        return {
            w.id: judge(w, seen[w.target_id])
            if w.target_id in seen
            else Failed("The provider did not answer.")
            for w in works
        }

    return run


def _act(
    act: Acts, *, want: Callable[[Work], dict[str, str]] | None = None
) -> Callable[[Sequence[Work]], dict[int, Outcome]]:
    """A step that makes the provider act, all works of a provider together.

    `want` tells what the instance's row shall say is wanted; it is written first, so that a probe
    which looks in between judges by the new wish.
    """

    def run(works: Sequence[Work]) -> dict[int, Outcome]:
        if want is not None:
            _want(works, want)
        outcomes: dict[int, Outcome] = {}
        for provider, pairs in _by_provider(works):
            errors = act(provider, pairs)
            for work, _ in pairs:
                error = errors.get(work.target_id)
                outcomes[work.id] = Done() if error is None else failure_of(error)
        return outcomes

    return run


def _want(works: Sequence[Work], want: Callable[[Work], dict[str, str]]) -> None:
    """Write what is wanted, audited, one statement for each different wish."""
    wishes: dict[tuple[tuple[str, str], ...], list[Work]] = {}
    for work in works:
        wishes.setdefault(tuple(want(work).items()), []).append(work)
    act = current()
    for wish, group in wishes.items():
        columns = dict(wish)
        rows = Instance.objects.filter(pk__in=among(work.target_id for work in group)).exclude(**columns)
        with acting(act.actor if act else None, operation_of={work.target_id: work.id for work in group}):
            rows.update(**columns)


# --- Judging ------------------------------------------------------------------------------------


def _note(work: Work, seen: Observation) -> Outcome:
    """Remember what was there, so that a repeated step knows what it had to change."""
    return Done(
        f"version {seen.version or 'none'}, {seen.state}",
        notes={"generation": seen.generation, "version": seen.version, "state": seen.state},
    )


def _note_for_restart(work: Work, seen: Observation) -> Outcome:
    """As `_note`. One that could not be seen has no generation to be told from by: its restart would be no order."""
    if seen.state == "missing":
        return Failed(f"There is nothing to restart: {seen.detail or 'it is not seen'}.")
    if seen.state == "unknown":
        return Failed(f"It cannot be seen: {seen.detail}.")
    return _note(work, seen)


def _is_serving(work: Work, seen: Observation) -> Outcome:
    if seen.state == "running" and seen.healthy:
        return Done(f"healthy on version {seen.version}")
    return Later(LOOK, seen.detail or seen.state)


def _is_serving_again(work: Work, seen: Observation) -> Outcome:
    """Healthy on a later boot. One that crashes as it starts ends the wait at once: booting it again is a new decision."""
    if seen.generation <= work.notes.get("generation", 0):
        return Later(LOOK, "not restarted yet")
    waited = (work.now() - work.step_started_at).total_seconds()
    if seen.state == "stopped" and waited > CRASHED:
        return Failed(f"It was started, and does not run: {seen.detail or seen.state}.", retryable=False)
    return _is_serving(work, seen)


def _is_stopped(work: Work, seen: Observation) -> Outcome:
    return Done("stopped") if seen.state in ("stopped", "missing") else Later(LOOK, seen.detail or seen.state)


def _is_new_version_good(work: Work, seen: Observation) -> Outcome:
    """Healthy on the wanted version for SOAK seconds; a crash ends the wait at once, trouble after PATIENCE."""
    version = work.params["version"]
    waited = (work.now() - work.step_started_at).total_seconds()
    if seen.state == "running" and seen.healthy and seen.version == version:
        now = timezone.now()
        since = work.notes.setdefault("healthy_since", now.isoformat())
        left = SOAK - (now - datetime.fromisoformat(since)).total_seconds()
        if left <= 0:
            return Done(f"healthy on version {version}")
        return Later(min(LOOK, left), "healthy, watching that it stays so")
    work.notes.pop("healthy_since", None)
    if seen.state in ("stopped", "missing") and waited > CRASHED:
        return Failed(f"Version {version} does not run: {seen.detail or seen.state}.", retryable=False)
    if waited > PATIENCE:
        return Failed(
            f"Version {version} is not healthy after {PATIENCE:g} s: {seen.detail or seen.state}.",
            retryable=False,
        )
    return Later(LOOK, seen.detail or seen.state)


def _was_stopped(work: Work) -> bool:
    """Whether it was stopped on purpose when the new version came; operations of an older release say nothing of it."""
    return bool(work.notes.get("was_wanted") == Wanted.STOPPED)


def _is_old_version_back(work: Work, seen: Observation) -> Outcome:
    if _was_stopped(work):
        return _is_stopped(work, seen)
    if seen.version == work.notes["wanted_before"] and seen.state == "running" and seen.healthy:
        return Done(f"healthy on version {seen.version} again")
    return Later(LOOK, seen.detail or seen.state)


def _note_for_deploy(works: Sequence[Work]) -> dict[int, Outcome]:
    """As `_note`, and which version to come back to; a version that the provider has not got fails here."""
    rows = Instance.objects.filter(pk__in=among(w.target_id for w in works))
    before = {
        pk: (version, wanted) for pk, version, wanted in rows.values_list("pk", "wanted_version", "wanted")
    }
    seen = _observe(works)
    outcomes: dict[int, Outcome] = {}
    for provider, pairs in _by_provider(works):
        known = set(provider.versions())
        for work, _ in pairs:
            version = work.params["version"]
            if version not in known:
                outcomes[work.id] = Failed(f"There is no version “{version}” in this cell.", retryable=False)
                continue
            if seen[work.target_id].state == "unknown":
                outcomes[work.id] = Failed(f"It cannot be seen: {seen[work.target_id].detail}.")
                continue
            noted = _note(work, seen[work.target_id])
            assert isinstance(noted, Done)  # noqa: S101 - that is what _note gives
            version, wanted = before[work.target_id]
            kept = {"wanted_before": version, "was_wanted": wanted}
            outcomes[work.id] = Done(noted.detail, {**noted.notes, **kept})
    return outcomes


# --- Acting -------------------------------------------------------------------------------------


def _restart(provider: Any, pairs: Sequence[tuple[Work, Target]]) -> Mapping[int, ProviderError | None]:
    result: Mapping[int, ProviderError | None] = provider.restart_many(
        [(t, w.notes["generation"]) for w, t in pairs]
    )
    return result


def _start(provider: Any, pairs: Sequence[tuple[Work, Target]]) -> Mapping[int, ProviderError | None]:
    result: Mapping[int, ProviderError | None] = provider.start_many([t for _, t in pairs])
    return result


def _stop(provider: Any, pairs: Sequence[tuple[Work, Target]]) -> Mapping[int, ProviderError | None]:
    result: Mapping[int, ProviderError | None] = provider.stop_many([t for _, t in pairs])
    return result


def _apply(version_of: Callable[[Work], str]) -> Acts:
    def act(provider: Any, pairs: Sequence[tuple[Work, Target]]) -> Mapping[int, ProviderError | None]:
        result: Mapping[int, ProviderError | None] = provider.apply_many(
            [(t, version_of(w)) for w, t in pairs]
        )
        return result

    return act


def _put_back(provider: Any, pairs: Sequence[tuple[Work, Target]]) -> Mapping[int, ProviderError | None]:
    """The old version, and stopped again where it was stopped before the new one was tried on it."""
    errors = dict(_apply(lambda w: w.notes["wanted_before"])(provider, pairs))
    stopped = [target for work, target in pairs if _was_stopped(work) and not errors.get(work.target_id)]
    return {**errors, **(provider.stop_many(stopped) if stopped else {})}


def _collect(works: Sequence[Work]) -> dict[int, Outcome]:
    """Logs, metrics and process state of one moment, kept as one bundle for each operation."""
    outcomes: dict[int, Outcome] = {}
    for provider, pairs in _by_provider(works):
        for work, target in pairs:
            try:
                parts = {name: storable(text) for name, text in _parts(provider, target).items()}
            except ProviderError as error:
                outcomes[work.id] = failure_of(error)
                continue
            size = sum(len(text.encode()) for text in parts.values())
            _, made = Diagnostics.objects.get_or_create(
                operation_id=work.id, defaults={"instance_id": work.target_id, "parts": parts, "size": size}
            )
            outcomes[work.id] = Done(f"{len(parts)} parts, {size:,} bytes" if made else "collected before")
    return outcomes


def _parts(provider: Any, target: Target) -> dict[str, str]:
    page = provider.logs(target, limit=500)
    seen = provider.observe(target)
    lines = [
        f"{line.at.isoformat()} {line.level} {line.tenant} {line.request_id} {line.message}"
        for line in page.lines
    ]
    return {
        "observation": f"{seen.state}, healthy: {seen.healthy}, version {seen.version}, generation {seen.generation}\n{seen.detail}",
        "logs": "\n".join(lines),
        "metrics": _metrics_text(provider, target),
        **provider.diagnostics(target),
    }


def _metrics_text(provider: Any, target: Target) -> str:
    """Metrics as text; an instance that is down has none, and that is part of the picture, no error."""
    try:
        samples = provider.metrics(target)
    except ProviderError as error:
        return f"none: {error}"
    return "\n".join(
        f"{s.name}{{{','.join(f'{k}={v!r}' for k, v in s.labels.items())}}} {s.value:g}" for s in samples
    )


# --- The kinds ----------------------------------------------------------------------------------


def _version_param(params: Mapping[str, Any]) -> dict[str, Any]:
    version = str(params.get("version", "")).strip()
    if not version:
        raise ValueError("Choose the version to deploy.")
    if len(version) > 40 or not all(c.isalnum() or c in ".-_+" for c in version):
        raise ValueError(
            "A version has at most 40 letters, digits, dots, hyphens, underscores or plus signs."
        )
    return {"version": version}


def _simple(name: str, label: str, steps: tuple[Step, ...], what: str) -> Kind:
    """A kind that takes no parameters and what starting and stopping takes."""
    return Kind(
        name=name, label=label, permission=Permission.RESTART, target_type="instance", steps=steps,
        check_params=no_params, preview=lambda target, params: f"{target} {what}",
    )  # fmt: skip


def _to(wanted: Wanted) -> Callable[[Work], dict[str, str]]:
    return lambda work: {"wanted": str(wanted)}


#: name, label, steps, what it does to a target.
START, STOP, RESTART = (
    _simple(*row)
    for row in (
        ("start", "Start", (
            Step("start", _act(_start, want=_to(Wanted.RUNNING)), timeout=30),
            Step("wait until healthy", _look(_is_serving), timeout=60),
        ), "starts and is healthy within a minute"),
        ("stop", "Stop", (
            Step("stop", _act(_stop, want=_to(Wanted.STOPPED)), timeout=30),
            Step("wait until stopped", _look(_is_stopped), timeout=30),
        ), "stops; its tenants are not served until it is started again"),
        ("restart", "Restart", (
            Step("look", _look(_note_for_restart), timeout=30),
            Step("restart", _act(_restart, want=_to(Wanted.RUNNING)), timeout=30),
            Step("wait until healthy", _look(_is_serving_again), timeout=60),
        ), "restarts; its tenants wait for some seconds"),
    )
)  # fmt: skip
DEPLOY = Kind(
    name="deploy",
    label="Deploy",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(
        Step("look", _note_for_deploy, timeout=30),
        Step("put the version in place", _act(_apply(lambda w: w.params["version"]), want=lambda w: {
            "wanted_version": w.params["version"], "wanted": str(Wanted.RUNNING)}), timeout=60),
        Step("watch its health", _look(_is_new_version_good), timeout=PATIENCE + 30),
    ),
    undo=(
        Step("put the old version back", _act(_put_back, want=lambda w: {
            "wanted_version": w.notes["wanted_before"], "wanted": w.notes.get("was_wanted", str(Wanted.RUNNING))}), timeout=60),
        Step("wait until healthy", _look(_is_old_version_back), timeout=60),
    ),
    undo_from=1,
    check_params=_version_param,
    preview=lambda label, params: f"{label} goes to {params['version']}, and back by itself if that is not healthy",
)  # fmt: skip
DIAGNOSE = Kind(
    name="diagnose",
    label="Diagnostics",
    permission=Permission.DIAGNOSE,
    target_type="instance",
    steps=(Step("collect", _collect, timeout=60),),
    is_changing=False,
    check_params=no_params,
    preview=lambda label, params: (
        f"logs, metrics and process state of {label} are collected; nothing is changed"
    ),
)

ALL = (START, STOP, RESTART, DEPLOY, DIAGNOSE)
