"""What a rollout is told to leave alone, by name and with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.choices import ScopeKind
from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations.services import Refused
from apps.releases.choices import RolloutState, TargetState
from apps.releases.excluding import read_exclusions
from apps.releases.models import Release, Rollout
from apps.releases.queries.rollouts import report, rollout_page
from apps.releases.rollouts import prepare_rollout, steer, steer_target
from apps.releases.scheduling import newcomers
from tests.factories import grant, make_cell, make_instance, make_tenant, make_user, place
from tests.releases.conftest import run

WHY = "a test asks for it"
Fleet = Callable[[int], list[Instance]]


def prepared(release: Release, boss: User, text: str, **options: Any) -> Rollout:
    values = {"canary": "1", "growth": 5, "bake_seconds": 0, "concurrency": 50, **options}
    rollout = Rollout(release=release, reason=WHY, **values)
    prepare_rollout(rollout, actor=boss, exclusions=read_exclusions(text, actor=boss))
    return rollout


def test_what_is_excluded_is_in_no_wave_is_never_changed_and_is_told(
    release: Release, boss: User, fleet: Fleet
) -> None:
    made = fleet(4)
    rollout = prepared(release, boss, "t-001: audit until Friday\ninstance i-002: its disk is moved")
    left = dict(rollout.targets.filter(state=TargetState.EXCLUDED).values_list("instance_id", "why"))
    assert left == {
        made[1].pk: "excluded (tenant t-001): audit until Friday",
        made[2].pk: "excluded (instance i-002): its disk is moved",
    }
    steer(rollout, "start", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert "2 excluded" in rollout.why
    for instance in made:
        instance.refresh_from_db()
    assert [i.wanted_version == "2.0.0" for i in made] == [True, False, False, True]
    assert [e["name"] for e in report(boss, rollout.pk)["exclusions"]] == ["i-002", "t-001"]
    assert [e.instances for e in rollout_page(boss, rollout.pk).exclusions] == [1, 1]


def test_an_excluded_one_cannot_be_tried_again(release: Release, boss: User, fleet: Fleet) -> None:
    fleet(2)
    rollout = prepared(release, boss, "t-001: audit until Friday")
    with pytest.raises(Refused, match="makes no sense"):
        steer_target(rollout.targets.get(state=TargetState.EXCLUDED), "retry", actor=boss, reason=WHY)


def test_new_instances_of_what_is_excluded_are_no_newcomers(
    release: Release, boss: User, fleet: Fleet, cell: Cell
) -> None:
    made = fleet(2)
    rollout = prepared(release, boss, "tenant t-001: audit until Friday")
    more, another = make_instance("more", cell=cell), make_instance("another", cell=cell)
    place(made[1].placements.get().tenant, more)
    assert list(newcomers(rollout, boss)) == [another]


def test_a_cell_is_excluded_whole(release: Release, boss: User, fleet: Fleet) -> None:
    fleet(2)
    there = make_instance("there", cell=make_cell("cell-2"))
    rollout = prepared(release, boss, "cell cell-2: its power is worked on")
    assert list(rollout.targets.filter(state=TargetState.EXCLUDED).values_list("instance_id", flat=True)) == [
        there.pk
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [("t-001", "a colon, and why"), ("t-001: x", "a colon, and why"), ("nobody: they asked", "There is no tenant, cell or instance"),
     ("same: they asked", "write which"), ("tenant i-000: they asked", "There is no")],
)  # fmt: skip
def test_a_line_that_is_not_plain_is_refused(
    text: str, words: str, boss: User, fleet: Fleet, cell: Cell
) -> None:
    fleet(2)
    make_tenant("same")
    make_instance("same", cell=cell)
    with pytest.raises(Refused, match=words):
        read_exclusions(text, actor=boss)


def test_nobody_is_left_when_all_are_excluded(release: Release, boss: User, fleet: Fleet) -> None:
    fleet(1)
    with pytest.raises(Refused, match="1 excluded"):
        prepared(release, boss, "t-000: they asked")


def test_nobody_names_or_sees_what_lies_outside_their_scope(
    release: Release, boss: User, fleet: Fleet, cell: Cell
) -> None:
    fleet(2)
    make_instance("there", cell=make_cell("cell-2"))
    make_tenant("elsewhere")
    operator = make_user("operator")
    grant(operator, "operator", ScopeKind.ACCOUNT, cell.region.account)
    with pytest.raises(Refused, match="that you can see"):
        read_exclusions("elsewhere: they asked", actor=operator)
    rollout = prepared(release, boss, "cell-2: power is worked on\nt-001: audit until Friday")
    assert [e.label for e in rollout_page(operator, rollout.pk).exclusions] == ["t-001"]


def test_the_form_says_what_is_wrong_and_the_page_shows_what_is_left_alone(
    client: Client, release: Release, boss: User, fleet: Fleet
) -> None:
    fleet(2)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    form = {
        "release": release.pk, "canary": "1", "growth": 2, "concurrency": 1, "bake_seconds": 0, "gate": "health",
        "min_requests": 1, "on_fail": "abort", "reason": WHY,
    }  # fmt: skip
    answer = client.post(reverse("releases:new_rollout"), {**form, "exclude": "nobody: they asked"})
    assert (answer.status_code, "that you can see" in answer.text) == (422, True)
    answer = client.post(
        reverse("releases:new_rollout"), {**form, "exclude": "t-001: they asked"}, follow=True
    )
    assert "Left alone" in answer.text
    assert "they asked" in answer.text
