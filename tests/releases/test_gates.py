"""The gate's verdicts, and how often it errs."""

from __future__ import annotations

import numpy
import pytest

from apps.releases.choices import Verdict
from apps.releases.gates import Evidence, Traffic, judge


def traffic(
    random: numpy.random.Generator, *, requests: int, errors: float, latency: float, samples: int = 24
) -> Traffic:
    noise = random.lognormal(0, 0.4, samples)
    return Traffic(requests, int(random.binomial(requests, errors)), [latency * float(n) for n in noise])


def compared(new: Traffic, old: Traffic) -> Evidence:
    return Evidence(size=3, compares=True, measured=3, controls=9, new=new, old=old)


def test_health_decides_first() -> None:
    assert judge(Evidence(size=3)).verdict == Verdict.PASS
    assert judge(Evidence(size=3, failed=["a"])).verdict == Verdict.FAIL
    assert judge(Evidence(size=3, unhealthy=["a"], bake_left=60)).verdict == Verdict.FAIL
    assert judge(Evidence(size=3, unsettled=["a"])).verdict == Verdict.WAIT
    assert judge(Evidence(size=3, moving=1)).verdict == Verdict.WAIT
    assert judge(Evidence(size=3, bake_left=3)).verdict == Verdict.WAIT


def test_not_enough_data_is_no_pass() -> None:
    judgement = judge(compared(Traffic(12, 0), Traffic(5_000, 3, [0.1] * 9)))
    assert judgement.verdict == Verdict.WAIT
    assert any("not enough data" in text for _, text in judgement.reasons)


def test_a_source_that_is_away_is_waited_for() -> None:
    judgement = judge(Evidence(size=1, compares=True, measured=1, controls=1, source_error="timeout"))
    assert judgement.verdict == Verdict.WAIT


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(size=3, compares=True, without_metrics=3),
        Evidence(size=3, compares=True, measured=3),
        Evidence(size=3, measured=3, controls=3),
    ],
    ids=["simulated", "nobody left", "health gate"],
)
def test_where_nothing_can_be_compared_health_counts_and_says_so(evidence: Evidence) -> None:
    judgement = judge(evidence)
    assert judgement.verdict == Verdict.PASS
    assert len(judgement.reasons) == 2


def test_errors_and_latency_each_fail_a_wave_and_name_their_test() -> None:
    random = numpy.random.default_rng(7)
    old = traffic(random, requests=9_000, errors=0.01, latency=0.1)
    worse = judge(compared(traffic(random, requests=900, errors=0.08, latency=0.1), old))
    slower = judge(compared(traffic(random, requests=900, errors=0.01, latency=0.3), old))
    assert (worse.verdict, slower.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert any("Fisher" in text and verdict == Verdict.FAIL for verdict, text in worse.reasons)
    assert any("Mann–Whitney" in text and verdict == Verdict.FAIL for verdict, text in slower.reasons)


def test_of_a_hundred_faulty_ones_all_are_failed_and_of_a_hundred_fine_ones_fewer_than_five() -> None:
    random = numpy.random.default_rng(20261124)
    caught = wronged = 0
    for _ in range(100):
        old = traffic(random, requests=8_000, errors=0.01, latency=0.12)
        fine = traffic(random, requests=800, errors=0.01, latency=0.12)
        faulty = traffic(random, requests=800, errors=0.10, latency=0.25)
        caught += judge(compared(faulty, old)).verdict == Verdict.FAIL
        wronged += judge(compared(fine, old)).verdict == Verdict.FAIL
    assert caught == 100
    assert wronged < 5
