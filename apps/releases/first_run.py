"""The releases that the first fleet runs, with what they are really made of, and the first limit of a change."""

import json
import platform
import ssl
from hashlib import sha256
from typing import Any

from apps.fleet.providers.local.versions import PROGRAM
from apps.operations.services import Refused
from apps.tenants.models import Plan

from .choices import Life, PolicyScope, ReleaseKind
from .models import BlastPolicy, Release, Ring
from .rings import put_in_ring, save_ring
from .rules import set_policy
from .services import add_artifact, move_release, save_release, upload_sbom

#: version, notes, how far it has come.
RELEASES = (
    ("4.12.2", "The one before.", (Life.CANDIDATE, Life.RELEASED)),
    ("4.12.3", "What the fleet runs.", (Life.CANDIDATE, Life.RELEASED, Life.PREFERRED)),
)
#: name, what it is for, seconds of rest after it: an hour for us to notice, a day for customers to. None follows the last.
RINGS = (
    ("internal", "our own tenants; an hour to notice what is wrong", 3_600),
    ("early", "who has asked for new things first, and the smallest plan; a day to hear of it", 86_400),
    ("everyone", "all others", 0),
)


#: Per cent of the fleet that may be changing or unhealthy at once, until somebody lowers or raises it.
AT_ONCE = 50


def lay_out(actor: Any) -> None:
    """Draft the releases, tell their artifact and SBOM, bring them out; rings and a limit. Nothing where there is a release already."""
    if Release.objects.exists():
        return
    document = json.dumps(sbom()).encode()
    digest = sha256(PROGRAM.read_bytes()).hexdigest()
    for version, notes, way in RELEASES:
        release = save_release(
            Release(version=version, kind=ReleaseKind.FEATURE, notes=notes), actor=actor, reason="first run"
        )
        add_artifact(release, name="app.py", sha256=digest, actor=actor)
        upload_sbom(release, document, actor=actor)
        for life in way:
            try:
                move_release(release, to=life, actor=actor, reason="first run: what the fleet runs")
            except Refused:
                # RELEASE_SIGNING_KEYS is set and nobody signed this one: it stays a draft, and its page says why.
                break
    _lay_out_rings(actor)
    if not BlastPolicy.objects.exists():
        set_policy(
            scope=PolicyScope.FLEET,
            object_id=0,
            max_count=None,
            max_percent=AT_ONCE,
            actor=actor,
            reason="first run: no mistake reaches the whole fleet",
        )


def _lay_out_rings(actor: Any) -> None:
    """Who gets new things first, a few more, then everyone; the first fleet's plans in them by their rank."""
    if Ring.objects.exists():
        return
    made = [
        save_ring(Ring(name=name, description=words, rest_seconds=rest), actor=actor, reason="first run")
        for name, words, rest in RINGS
    ]
    plans = list(Plan.objects.order_by("rank", "name"))
    if len(plans) > 1:
        put_in_ring(made[1], plan=plans[0], actor=actor, reason="first run: the smallest plan comes early")


def sbom() -> dict[str, Any]:
    """What the local fleet's product is made of, in CycloneDX: the standard library of this Python, and its OpenSSL."""
    python, openssl = platform.python_version(), ".".join(str(n) for n in ssl.OPENSSL_VERSION_INFO[:3])
    components = [
        {"type": "platform", "name": name, "version": version, "purl": f"pkg:generic/{name}@{version}"}
        for name, version in (("python", python), ("openssl", openssl))
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
