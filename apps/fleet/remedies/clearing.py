"""Clear disk: what an instance holds is measured, turned logs and leavings go, and what that freed is measured again."""

from typing import Any

from apps.access.choices import Permission
from apps.operations.kinds import Done, Kind, Outcome, Step, Work

from ..providers.base import DiskUse, Target
from ..stepping import each_provided, no_params


def megabytes(size: int) -> str:
    """A size for people, in MB."""
    return f"{size / 1_000_000:,.1f} MB"


def _note(work: Work, provider: Any, target: Target) -> Outcome:
    use: DiskUse = provider.disk(target)
    return Done(
        f"{megabytes(use.total)}, of which {megabytes(use.clearable)} can go", {"bytes_before": use.total}
    )


def _clear(work: Work, provider: Any, target: Target) -> Outcome:
    provider.clear_disk(target)
    return Done("turned logs and leavings are gone")


def _see(work: Work, provider: Any, target: Target) -> Outcome:
    use: DiskUse = provider.disk(target)
    before = int(work.notes.get("bytes_before", use.total))
    freed = max(0, before - use.total)
    return Done(
        f"{megabytes(freed)} freed: {megabytes(before)} before, {megabytes(use.total)} now",
        {"bytes_after": use.total},
    )


CLEAR = Kind(
    name="clear_disk",
    label="Clear disk",
    permission=Permission.RESTART,
    target_type="instance",
    steps=(
        Step("look", each_provided(_note), timeout=30),
        Step("clear", each_provided(_clear), timeout=60),
        Step("measure again", each_provided(_see), timeout=30),
    ),
    check_params=no_params,
    preview=lambda label, params: (
        f"{label} loses its turned logs, leavings and all but the end of overlong logs; it goes on serving"
    ),
)
