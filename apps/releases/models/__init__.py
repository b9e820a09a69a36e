"""Releases and what is in them; rollouts; exposure; the rules that rollouts keep."""

from .exposure import Advisory, AdvisoryMatch, Exposure, VexStatement
from .hotpatches import HotPatch
from .releases import Artifact, Component, Release, ReleaseComponent
from .rollouts import Rollout, RolloutTarget, Wave
from .rules import BlastPolicy, Freeze, Hold, Window

__all__ = [
    "Advisory",
    "AdvisoryMatch",
    "Artifact",
    "BlastPolicy",
    "Component",
    "Exposure",
    "Freeze",
    "Hold",
    "HotPatch",
    "Release",
    "ReleaseComponent",
    "Rollout",
    "RolloutTarget",
    "VexStatement",
    "Wave",
    "Window",
]
