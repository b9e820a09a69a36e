"""Words of releases, rollouts and exposure, and which state may follow which."""

from django.db import models


class ReleaseKind(models.TextChoices):
    FEATURE = "feature", "Feature"
    PATCH = "patch", "Patch"
    SECURITY = "security", "Security"


class Severity(models.TextChoices):
    NONE = "none", "None"
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"
    CRITICAL = "critical", "Critical"


#: Worst first, for sorting in Python.
SEVERITY_RANK = {value: rank for rank, value in enumerate(reversed(Severity.values))}


class Life(models.TextChoices):
    """A release's life."""

    DRAFT = "draft", "Draft"
    CANDIDATE = "candidate", "Candidate"
    RELEASED = "released", "Released"
    PREFERRED = "preferred", "Preferred"
    DEPRECATED = "deprecated", "Deprecated"
    WITHDRAWN = "withdrawn", "Withdrawn"


#: The only ways from life to life. Who was withdrawn may come back only as a draft, to be checked anew.
LIFE_TRANSITIONS: dict[str, frozenset[str]] = {
    Life.DRAFT: frozenset({Life.CANDIDATE, Life.WITHDRAWN}),
    Life.CANDIDATE: frozenset({Life.DRAFT, Life.RELEASED, Life.WITHDRAWN}),
    Life.RELEASED: frozenset({Life.PREFERRED, Life.DEPRECATED, Life.WITHDRAWN}),
    Life.PREFERRED: frozenset({Life.RELEASED, Life.DEPRECATED, Life.WITHDRAWN}),
    Life.DEPRECATED: frozenset({Life.RELEASED, Life.WITHDRAWN}),
    Life.WITHDRAWN: frozenset({Life.DRAFT}),
}
#: Lives in which a version may not be deployed.
UNDEPLOYABLE = (Life.DRAFT, Life.WITHDRAWN)


class SbomFormat(models.TextChoices):
    CYCLONEDX = "cyclonedx", "CycloneDX JSON"
    SPDX = "spdx", "SPDX JSON"


class RolloutState(models.TextChoices):
    DRAFT = "draft", "Prepared"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    ROLLING_BACK = "rolling_back", "Rolling back"
    SUCCEEDED = "succeeded", "Succeeded"
    ABORTED = "aborted", "Aborted"
    ROLLED_BACK = "rolled_back", "Rolled back"
    CANCELLED = "cancelled", "Cancelled"


#: The only ways from state to state of a rollout.
ROLLOUT_TRANSITIONS: dict[str, frozenset[str]] = {
    RolloutState.DRAFT: frozenset({RolloutState.RUNNING, RolloutState.CANCELLED}),
    RolloutState.RUNNING: frozenset(
        {RolloutState.PAUSED, RolloutState.ABORTED, RolloutState.ROLLING_BACK, RolloutState.SUCCEEDED}
    ),
    RolloutState.PAUSED: frozenset({RolloutState.RUNNING, RolloutState.ABORTED, RolloutState.ROLLING_BACK}),
    RolloutState.ROLLING_BACK: frozenset({RolloutState.ROLLED_BACK, RolloutState.ABORTED}),
    RolloutState.SUCCEEDED: frozenset({RolloutState.ROLLING_BACK}),
    RolloutState.ABORTED: frozenset({RolloutState.ROLLING_BACK, RolloutState.RUNNING}),
    RolloutState.ROLLED_BACK: frozenset(),
    RolloutState.CANCELLED: frozenset(),
}
#: States in which a rollout is driven. A paused one starts nothing, but what it started is followed to its end.
DRIVEN = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ROLLING_BACK, RolloutState.ABORTED)
UNENDED = (RolloutState.DRAFT, RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ROLLING_BACK)


class WaveState(models.TextChoices):
    PLANNED = "planned", "To come"
    RUNNING = "running", "Running"
    BAKING = "baking", "Baking"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    RETURNING = "returning", "Going back"
    RETURNED = "returned", "Went back"


#: States of waves that a rollout has behind it.
BEHIND = (WaveState.PASSED, WaveState.RETURNING, WaveState.RETURNED)


class Verdict(models.TextChoices):
    PASS = "pass", "Pass"
    FAIL = "fail", "Fail"
    WAIT = "wait", "Wait"


class TargetState(models.TextChoices):
    """What a rollout has done to one instance so far."""

    WAITING = "waiting", "Waiting"
    CHANGING = "changing", "Changing"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    HELD = "held", "Held"
    SKIPPED = "skipped", "Skipped"
    EXCLUDED = "excluded", "Excluded"
    RETURNING = "returning", "Going back"
    RETURNED = "returned", "Went back"
    STAYED = "stayed", "Could not go back"


class Excludable(models.TextChoices):
    """What a rollout can be told to leave alone."""

    TENANT = "tenant", "Tenant"
    CELL = "cell", "Cell"
    INSTANCE = "instance", "Instance"


#: Target states that are asked about again while the rollout lasts.
MOVING = (TargetState.CHANGING, TargetState.RETURNING)
#: Targets that run, or may run, the new version because of the rollout.
TOUCHED = (TargetState.CHANGING, TargetState.DONE)


class OnFail(models.TextChoices):
    ABORT = "abort", "Abort"
    ROLL_BACK = "roll_back", "Abort and roll back what was touched"


class GateMode(models.TextChoices):
    HEALTH = "health", "Health"
    METRICS = "metrics", "Health and metrics"


class PolicyScope(models.TextChoices):
    FLEET = "fleet", "The whole fleet"
    ACCOUNT = "account", "One account"
    REGION = "region", "One region"
    PLAN = "plan", "One plan"
    CELL = "cell", "One cell"


class Measure(models.TextChoices):
    """What a limit of the blast radius counts."""

    INSTANCES = "instances", "Instances"
    TENANTS = "tenants", "Tenants"
    REVENUE = "revenue", "Revenue"
    CELLS = "cells", "Cells"


class VexWhy(models.TextChoices):
    """Why a release is not affected: the justifications of VEX (CISA, 2022)."""

    COMPONENT_NOT_PRESENT = "component_not_present", "The component is not there"
    CODE_NOT_PRESENT = "vulnerable_code_not_present", "The vulnerable code is not there"
    NOT_IN_PATH = "vulnerable_code_not_in_execute_path", "The vulnerable code is never run"
    NOT_CONTROLLABLE = (
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "An adversary cannot reach the vulnerable code",
    )
    MITIGATED = "inline_mitigations_already_exist", "Mitigations are in place"


class NoticeState(models.TextChoices):
    """How far a notice to a customer has come."""

    DRAFT = "draft", "Draft"
    QUEUED = "queued", "To be sent"
    SENT = "sent", "Sent"
    TOLD = "told", "Told by other means"


#: Hours from the moment an advisory is known until nobody may be exposed any more, by severity.
CLOCK_HOURS = {
    Severity.CRITICAL: 24,
    Severity.HIGH: 24,
    Severity.MEDIUM: 24 * 7,
    Severity.LOW: 24 * 30,
    Severity.NONE: 24 * 90,
}
