"""When a recovery policy may act: pure rules over what was done, the same for the real thing and the dry run."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .models import RecoveryPolicy
from .rotations import next_at, within

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Done:
    """One answer that was given."""

    at: datetime
    instance_id: int | None
    cell_id: int | None
    policy_id: int


@dataclass(slots=True)
class Ledger:
    """Answers of the last hour, oldest first. `objection` asks, `add` writes; times must not go back."""

    done: deque[Done] = field(default_factory=deque)
    by_instance: Counter[int | None] = field(default_factory=Counter)
    by_cell: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    by_policy: Counter[int] = field(default_factory=Counter)
    last_on: dict[int | None, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, done: Iterable[Done]) -> "Ledger":
        """A ledger with these answers in it."""
        ledger = cls()
        for one in sorted(done, key=lambda d: d.at):
            ledger.add(one)
        return ledger

    def add(self, one: Done) -> None:
        """An answer was given."""
        self.done.append(one)
        self.by_instance[one.instance_id] += 1
        self.by_cell[one.policy_id, one.cell_id] += 1
        self.by_policy[one.policy_id] += 1
        self.last_on[one.instance_id] = one.at

    def _forget(self, at: datetime) -> None:
        while self.done and self.done[0].at <= at - HOUR:
            old = self.done.popleft()
            self.by_instance[old.instance_id] -= 1
            self.by_cell[old.policy_id, old.cell_id] -= 1
            self.by_policy[old.policy_id] -= 1

    def objection(
        self, policy: RecoveryPolicy, *, instance_id: int | None, cell_id: int | None, at: datetime
    ) -> str:
        """What stands against acting now, in words; "" when nothing does."""
        self._forget(at)
        if (
            policy.hours_from
            and policy.hours_until
            and not within(at, policy.zone, policy.hours_from, policy.hours_until)
        ):
            return f"outside its hours, {policy.hours_from:%H:%M} to {policy.hours_until:%H:%M} {policy.zone}"
        last = self.last_on.get(instance_id)
        if last is not None and (left := policy.cooldown - (at - last).total_seconds()) > 0:
            return f"cooling down for {left:.0f} s more"
        if self.by_instance[instance_id] >= policy.tries:
            return f"the {policy.tries} tries on one instance within an hour are used up"
        if self.by_cell[policy.pk, cell_id] >= policy.per_cell:
            return f"the {policy.per_cell} answers in one cell within an hour are used up"
        if self.by_policy[policy.pk] >= policy.per_fleet:
            return f"the {policy.per_fleet} answers altogether within an hour are used up"
        return ""

    def again_at(
        self, policy: RecoveryPolicy, *, instance_id: int | None, cell_id: int | None, at: datetime
    ) -> datetime:
        """When what stands against acting at `at` may be over; later than `at`. Something else may stand there then."""
        start, end = policy.hours_from, policy.hours_until
        if start and end and not within(at, policy.zone, start, end):
            return next_at(at, policy.zone, start)
        last = self.last_on.get(instance_id)
        if last is not None and (free := last + timedelta(seconds=policy.cooldown)) > at:
            return free
        mine: Callable[[Done], bool]
        if self.by_instance[instance_id] >= policy.tries:
            mine = lambda d: d.instance_id == instance_id  # noqa: E731
        elif self.by_cell[policy.pk, cell_id] >= policy.per_cell:
            mine = lambda d: (d.policy_id, d.cell_id) == (policy.pk, cell_id)  # noqa: E731
        else:
            mine = lambda d: d.policy_id == policy.pk  # noqa: E731
        return next((d.at for d in self.done if mine(d)), at) + HOUR
