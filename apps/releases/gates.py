"""The gate after a wave: from evidence to a verdict with its reasons. Pure, so that it can be tried a thousand times.

Statistics (scipy.stats), both one-sided, asking only whether the new version is *worse*, at ALPHA:

- errors: Fisher's exact test on answered and failed requests of both sides over the same minutes. Exact for small
  numbers, which canaries have.
- latency: Mann–Whitney U on the mean latencies of quarter-minute measurements. It compares ranks, so it does not
  care how latencies are distributed.

A difference that is significant and too small to matter does not fail a wave: errors must be at least half a per
cent of requests more and half as many again, the median latency at least a fifth higher.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from .choices import Verdict

ALPHA = 0.01
LEAST_ERRORS_MORE, LEAST_ERROR_RATIO = 0.005, 1.5
LEAST_LATENCY_RATIO = 1.2
#: Measurements of latency that each side needs.
MIN_SAMPLES = 4

Reason = tuple[str, str]
#: What reasons that name instances begin with; who does not see all of a rollout is not told which.
FAILED, UNHEALTHY, UNSETTLED = (
    "Could not be changed: ",
    "Failing or degraded on the new version: ",
    "Not well yet, or not seen yet: ",
)
NAMING = (FAILED, UNHEALTHY, UNSETTLED)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one side of the comparison answered: requests, errors of them, and mean latencies (s) by measurement."""

    requests: int = 0
    errors: int = 0
    latencies: Sequence[float] = ()

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a wave. `bake_left` in seconds; `compares`: error rate and latency are asked about.

    `without_metrics` counts instances whose provider keeps none; `old` is who still runs the old version.
    `shows_nothing`: all of it was held or skipped, nothing was changed before it, and more is to come.
    """

    size: int
    moving: int = 0
    failed: Sequence[str] = ()
    unhealthy: Sequence[str] = ()
    unsettled: Sequence[str] = ()
    shows_nothing: bool = False
    bake_left: float = 0.0
    compares: bool = False
    min_requests: int = 100
    measured: int = 0
    without_metrics: int = 0
    controls: int = 0
    new: Traffic = field(default_factory=Traffic)
    old: Traffic = field(default_factory=Traffic)
    source_error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, and every reason that was weighed."""

    verdict: str
    reasons: tuple[Reason, ...]


def judge(evidence: Evidence) -> Judgement:
    """One failure fails the wave; otherwise one open question lets it wait; otherwise it passes.

    “Not enough data” is an open question, never a pass. A failure is told at once, before the bake is over.
    """
    reasons = [*_failures(evidence), *_settling(evidence)]
    is_failed = any(verdict == Verdict.FAIL for verdict, _ in reasons)
    if not is_failed and not any(verdict == Verdict.WAIT for verdict, _ in reasons):
        reasons += _comparison(evidence)
    verdicts = {verdict for verdict, _ in reasons}
    for verdict in (Verdict.FAIL, Verdict.WAIT):
        if verdict in verdicts:
            return Judgement(verdict, tuple(reasons))
    return Judgement(Verdict.PASS, tuple(reasons))


def _failures(e: Evidence) -> list[Reason]:
    found: list[Reason] = []
    if e.failed:
        found.append((Verdict.FAIL, f"{FAILED}{_some(e.failed)}."))
    if e.unhealthy:
        found.append((Verdict.FAIL, f"{UNHEALTHY}{_some(e.unhealthy)}."))
    return found


def _settling(e: Evidence) -> list[Reason]:
    found: list[Reason] = []
    if e.moving:
        found.append((Verdict.WAIT, f"{e.moving:,} of {e.size:,} still to be changed."))
    if e.unsettled:
        found.append((Verdict.WAIT, f"{UNSETTLED}{_some(e.unsettled)}."))
    if e.shows_nothing:
        found.append(
            (
                Verdict.WAIT,
                "Nothing of it was changed, so it shows nothing: try one of it again, or pass it by hand for the next to be the first.",
            )
        )
    if not found and not e.failed and not e.unhealthy:
        found.append((Verdict.PASS, f"All of {e.size:,} changed and well."))
    if e.bake_left > 0 and not (e.moving or e.failed or e.unhealthy):
        found.append((Verdict.WAIT, f"Watched for {e.bake_left:.0f} s more."))
    return found


def _some(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _comparison(e: Evidence) -> list[Reason]:
    """Error rate and latency against those who still run the old version."""
    if not e.compares:
        return [
            (
                Verdict.PASS,
                "Error rate and latency are not asked about: this gate looks at health and failures.",
            )
        ]
    if e.source_error:
        return [(Verdict.WAIT, f"The source of metrics does not answer: {e.source_error}")]
    if not e.measured:
        return [
            (
                Verdict.PASS,
                f"None of its {e.without_metrics:,} instances has metrics (simulated): health alone counts.",
            )
        ]
    if not e.controls:
        return [(Verdict.PASS, "Nobody is left on the old version to compare with: health alone counts.")]
    return [_errors(e), _latency(e)]


def _errors(e: Evidence) -> Reason:
    test = "Errors, Fisher's exact test"
    lacking = [
        f"{side} {traffic.requests:,}"
        for side, traffic in (("new", e.new), ("old", e.old))
        if traffic.requests < e.min_requests
    ]
    if lacking:
        return (
            Verdict.WAIT,
            f"{test}: not enough data, {e.min_requests:,} requests are needed ({', '.join(lacking)}).",
        )
    from scipy.stats import fisher_exact

    table = [[e.new.errors, e.new.requests - e.new.errors], [e.old.errors, e.old.requests - e.old.errors]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    is_worse = (
        p < ALPHA
        and e.new.error_rate - e.old.error_rate >= LEAST_ERRORS_MORE
        and e.new.error_rate >= LEAST_ERROR_RATIO * e.old.error_rate
    )
    figures = f"{e.new.error_rate:.2%} of {e.new.requests:,} new against {e.old.error_rate:.2%} of {e.old.requests:,} old, p = {p:.3g}"
    return (Verdict.FAIL, f"{test}: worse, {figures}.") if is_worse else (Verdict.PASS, f"{test}: {figures}.")


def _latency(e: Evidence) -> Reason:
    test = "Latency, Mann–Whitney U test"
    new, old = len(e.new.latencies), len(e.old.latencies)
    if new < MIN_SAMPLES or old < MIN_SAMPLES:
        return (
            Verdict.WAIT,
            f"{test}: not enough data, {MIN_SAMPLES} measurements are needed (new {new}, old {old}).",
        )
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(e.new.latencies, e.old.latencies, alternative="greater").pvalue)
    mine, theirs = median(e.new.latencies), median(e.old.latencies)
    figures = f"median {mine * 1000:.0f} ms new against {theirs * 1000:.0f} ms old, p = {p:.3g}"
    is_worse = p < ALPHA and mine >= LEAST_LATENCY_RATIO * theirs
    return (Verdict.FAIL, f"{test}: worse, {figures}.") if is_worse else (Verdict.PASS, f"{test}: {figures}.")
