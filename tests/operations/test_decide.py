"""Every path of an operation after a step's outcome, without a database."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.operations import deciding
from apps.operations.choices import TRANSITIONS, State
from apps.operations.kinds import Done, Failed, Later, Outcome, Work, find_kind

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def work(kind: str = "deploy", **more: Any) -> Work:
    values: dict[str, Any] = {
        "id": 1, "kind": kind, "target_type": "instance", "target_id": 7, "target_label": "one", "account_id": 1, "cell_id": 1,
        "tenant_id": None, "actor_id": 1, "reason": "why", "params": {"version": "2"}, "notes": {}, "step": 0,
        "is_undoing": False, "attempts": 0, "fence": 1, "failure": "", "step_started_at": NOW, "started_at": NOW,
    }  # fmt: skip
    return Work(**{**values, **more})


def decide(outcome: Outcome, cancelled_by: str = "", **more: Any) -> deciding.Move:
    return deciding.decide(work(**more), outcome, cancelled_by=cancelled_by)


def kinds_of(move: deciding.Move) -> list[str]:
    return [event.kind for event in move.events]


def test_a_step_done_leads_to_the_next() -> None:
    assert (decide(Done()).state, decide(Done()).step) == (State.RUNNING, 1)


def test_the_last_step_done_is_success() -> None:
    move = decide(Done(), step=2)
    assert move.state == State.SUCCEEDED
    assert kinds_of(move) == ["operation.succeeded"]


def test_later_stays_where_it_is_and_starts_no_new_step() -> None:
    move = decide(Later(1), step=2)
    assert (move.state, move.step, move.new_step) == (State.RUNNING, 2, False)


def test_a_failure_that_may_pass_is_tried_again() -> None:
    move = decide(Failed("net"), step=1)
    assert (move.state, move.step, move.attempts, move.retried) == (State.PENDING, 1, 1, True)
    assert move.wait > 0


def test_after_the_last_try_before_a_change_it_has_failed() -> None:
    move = decide(Failed("net"), step=0, attempts=3)
    assert (move.state, move.error) == (State.FAILED, "net")


def test_after_the_last_try_past_a_change_it_goes_back() -> None:
    move = decide(Failed("net"), step=1, attempts=3)
    assert (move.state, move.is_undoing, move.step, move.failure) == (State.RUNNING, True, 0, "net")


def test_what_cannot_pass_is_not_tried_again() -> None:
    assert decide(Failed("no such version", retryable=False), step=0).state == State.FAILED


def test_gone_back_it_has_failed_with_the_first_cause() -> None:
    move = decide(Done(), step=1, is_undoing=True, failure="not healthy")
    assert (move.state, move.error) == (State.FAILED, "not healthy")


def test_the_way_back_is_tried_again_too() -> None:
    move = decide(Failed("net"), step=0, is_undoing=True, failure="not healthy")
    assert (move.state, move.is_undoing, move.failure) == (State.PENDING, True, "not healthy")


def test_a_way_back_that_fails_says_both() -> None:
    move = decide(Failed("disk"), step=0, is_undoing=True, attempts=9, failure="not healthy.")
    assert move.state == State.FAILED
    assert "not healthy." in move.error
    assert "disk" in move.error


def test_a_cancel_before_a_change_ends_it() -> None:
    move = decide(Done(), "ann: wrong one", step=0)
    assert (move.state, move.error) == (State.CANCELLED, "Cancelled by ann: wrong one")


def test_a_cancel_past_a_change_goes_back_and_is_cancelled() -> None:
    move = decide(Done(), "ann: wrong one", step=1)
    assert (move.state, move.is_undoing) == (State.RUNNING, True)
    assert decide(Done(), step=1, is_undoing=True, failure=move.failure).state == State.CANCELLED


def test_a_cancel_after_the_last_step_comes_too_late() -> None:
    assert decide(Done(), "ann: wrong one", step=2).state == State.SUCCEEDED


def test_what_a_step_says_is_no_cancel() -> None:
    back = decide(Failed("Cancelled by the provider", retryable=False), step=1)
    assert decide(Done(), step=2, is_undoing=True, failure=back.failure).state == State.FAILED


def test_a_cancel_does_not_stop_the_way_back() -> None:
    assert decide(Done(), "ann: wrong one", step=0, is_undoing=True, failure="x").state == State.RUNNING


@given(
    kind=st.sampled_from(["start", "stop", "restart", "deploy", "diagnose"]),
    outcomes=st.lists(
        st.one_of(
            st.just(Done()),
            st.just(Later(0.1)),
            st.builds(Failed, st.just("net")),
            st.just(Failed("no", retryable=False)),
        ),
        min_size=60,
        max_size=60,
    ),
    cancels=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_whatever_happens_every_move_is_an_allowed_one(
    kind: str, outcomes: list[Outcome], cancels: list[bool]
) -> None:
    """Any sequence of outcomes keeps to the table of transitions, within the steps there are, and may end."""
    one = work(kind)
    found = find_kind(kind)
    for outcome, cancelled in zip(outcomes, cancels, strict=True):
        move = deciding.decide(one, outcome, cancelled_by="ann: no" if cancelled else "")
        if move.state != State.RUNNING:
            assert move.state in TRANSITIONS[State.RUNNING]
        if move.state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
            assert (move.error == "") == (move.state == State.SUCCEEDED)
            return
        assert move.step < len(found.steps_of(move.is_undoing))
        assert move.attempts < found.max_attempts
        one = work(
            kind, step=move.step, is_undoing=move.is_undoing, attempts=move.attempts, failure=move.failure
        )


@pytest.mark.parametrize("attempt", range(10))
def test_backoff_grows_to_a_minute(attempt: int) -> None:
    assert 0.3 < deciding.backoff(attempt) <= 75
