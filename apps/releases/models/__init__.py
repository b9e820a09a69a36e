"""Releases and what is in them; rollouts; exposure; the rules that rollouts keep."""

from .clocks import ClockAsk, ClockPolicy, ClockStep
from .customers import CustomerNotice
from .exposure import Advisory, AdvisoryMatch, Exposure, VexStatement
from .hotpatches import HotPatch
from .metrics import MetricSource
from .releases import Artifact, Component, Release, ReleaseComponent
from .rings import Ring, RingMember
from .rollouts import Exclusion, Rollout, RolloutTarget, Wave
from .rules import BlastPolicy, Freeze, Hold, Window

__all__ = [
    "Advisory",
    "AdvisoryMatch",
    "Artifact",
    "BlastPolicy",
    "ClockAsk",
    "ClockPolicy",
    "ClockStep",
    "Component",
    "CustomerNotice",
    "Exclusion",
    "Exposure",
    "Freeze",
    "Hold",
    "HotPatch",
    "MetricSource",
    "Release",
    "ReleaseComponent",
    "Ring",
    "RingMember",
    "Rollout",
    "RolloutTarget",
    "VexStatement",
    "Wave",
    "Window",
]
