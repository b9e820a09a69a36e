"""A command through the provider: one that the release offers by name, arguments by type, its output kept with the bundle."""

from collections.abc import Mapping
from typing import Any

from apps.access.choices import Permission
from apps.core.texts import storable
from apps.operations.guard_rails import Objection, Request
from apps.operations.kinds import Done, Failed, Kind, Outcome, Step, Work

from .. import providers
from ..models import Diagnostics
from ..providers import arguments
from ..providers.base import CommandResult, ProviderError, Target
from ..stepping import as_text, each_provided
from ..targets import provider_targets

NAME = "run_command"
#: Instances at once: each runs a process.
MOST = 200


def _run(work: Work, provider: Any, target: Target) -> Outcome:
    """The operation is the command's key: whoever repeats the step gets the first result."""
    given = arguments.read(work.params.get("arguments", ""))
    result: CommandResult = provider.run_command(
        target, work.params["command"], given, key=f"operation-{work.id}"
    )
    _keep(work, result)
    if result.exit_code:
        last = next((line for line in reversed(result.output.splitlines()) if line.strip()), "no output")
        return Failed(f"It ended with {result.exit_code}: {last[:200]}", retryable=False)
    lines = len(result.output.splitlines())
    return Done(f"{lines} line{'' if lines == 1 else 's'}{', cut' if result.is_cut else ''}; see Diagnostics")


def _keep(work: Work, result: CommandResult) -> None:
    line = " ".join([work.params["command"], work.params.get("arguments", "")]).strip()
    cut = "\n(the rest was too long to keep)" if result.is_cut else ""
    parts = {"command": line, "output": storable(result.output) + cut, "exit": str(result.exit_code)}
    Diagnostics.objects.get_or_create(
        operation_id=work.id,
        defaults={
            "instance_id": work.target_id, "parts": parts, "size": sum(len(t.encode()) for t in parts.values()),
        },
    )  # fmt: skip


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    given = as_text(params, ("command", "arguments"))
    name = given.get("command", "")
    if not name or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 60:
        raise ValueError("Name the command, such as status; arguments have a field of their own.")
    arguments.read(given.get("arguments", ""))
    return given


RUN = Kind(
    name=NAME,
    label="Run command",
    permission=Permission.DEPLOY,
    target_type="instance",
    steps=(Step("run", each_provided(_run), timeout=120),),
    max_attempts=2,
    check_params=_params,
    preview=lambda label, params: (
        f"{label} runs {' '.join([params.get('command', '…'), params.get('arguments', '')]).strip()}, of its release's own "
        "commands; what it writes is kept under Diagnostics"
    ),
)


def is_offered(request: Request) -> dict[int, Objection]:
    """A guard rail: a command that the release does not offer, or with arguments that it does not take, is refused."""
    if request.kind.name != NAME or request.starting:
        return {}
    if len(request.targets) > MOST:
        return {t.id: Objection(f"At most {MOST} instances at once run a command.") for t in request.targets}
    found: dict[int, Objection] = {}
    for name, targets in provider_targets([t.id for t in request.targets]).items():
        for pk, target in targets.items():
            if why := _why_not(providers.get(name), target, request.params):
                found[pk] = Objection(f"{target.name}: {why}.")
    return found


def _why_not(provider: Any, target: Target, params: Mapping[str, Any]) -> str:
    try:
        command = arguments.find(provider.commands(target), params["command"])
        arguments.checked(command, arguments.read(params.get("arguments", "")), target.tenants)
    except (ProviderError, OSError) as error:
        return str(error).rstrip(".")
    return ""


def names_for(target_ids: Any) -> list[str]:
    """The commands that all these instances offer, for a form."""
    common: set[str] | None = None
    for name, targets in provider_targets(list(target_ids)[:MOST]).items():
        for target in targets.values():
            try:
                offered = {command.name for command in providers.get(name).commands(target)}
            except (ProviderError, OSError):
                return []
            common = offered if common is None else common & offered
    return sorted(common or ())
