"""The security clock's stages as signals: whoever is on call hears that a deadline comes near, and that it is over."""

from apps.releases.escalating import Stage

from .choices import Severity, SignalState
from .intake import Said, fingerprint, write

SOURCE = "security clock"
NAME = "SecurityDeadline"
#: From this share of the time on somebody is woken; before, it is to be seen.
WAKES_AT = 75


def heard(stage: Stage) -> None:
    """Write the signal of a stage, in the caller's transaction."""
    name = str(stage.advisory)
    labels = {"alertname": NAME, "advisory": name}
    if stage.is_over:
        state, severity, summary = (
            SignalState.RESOLVED,
            Severity.INFO,
            f"Nobody is exposed to {name} any more",
        )
    else:
        used = "is missed" if stage.percent >= 100 else f"has used {stage.percent} % of its time"
        state = SignalState.FIRING
        severity = Severity.CRITICAL if stage.percent >= WAKES_AT else Severity.WARNING
        summary = f"The security clock of {name} {used}: {stage.exposed:,} instances exposed"
    said = Said(
        state=state, name=NAME, severity=severity, summary=summary[:300], labels=labels,
        fingerprint=fingerprint(SOURCE, labels),
    )  # fmt: skip
    write(SOURCE, [said])
