"""Access reviews: what each holds and used, kept or removed by somebody else, and the whole as evidence.

Use is read from the trail, whose entries name the grant that carried them. Looking leaves no entry, so a role that only
looks is judged by whether its holder signed in. Of several grants that carry a permission the widest is the one that is
used: a narrower one beside it counts as unused, since nobody needs it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from auditlog import get_logentry_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import granting, hands, lockout, roles, scoping, services
from .choices import Decision, Permission
from .granting import NotGiven
from .models import AccessReview, Grant, ReviewItem, User

DAYS = 90
Use = dict[int, tuple[int, datetime]]


def start(*, name: str, actor: Any, reason: str, days: int = DAYS) -> AccessReview:
    """A review of every grant that stands now. Raises NotGiven for a name that is taken or while there is no grant."""
    roles.require_edit(actor)
    if AccessReview.objects.filter(name=name).exists():
        raise NotGiven(f"There is a review {name} already.")
    now = timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        standing = Grant.objects.filter(Q(until__isnull=True) | Q(until__gt=now))
        grants = list(standing.select_related("user", "group", "role", "scope", "given_by").order_by("pk"))
        if not grants:
            raise NotGiven("Nobody holds anything; there is nothing to review.")
        review = AccessReview.objects.create(name=name, days=days, started_by=actor)
        use = _use(now - timedelta(days=days))
        ReviewItem.objects.bulk_create([_item(review, grant, use, now) for grant in grants])
        record([event("access.review_started", f"The access review {name} began with {len(grants)} grants")])
    return review


def _use(since: datetime) -> Use:
    """By grant: how often the trail says it was used since then, and when last."""
    rows = get_logentry_model().objects.filter(timestamp__gte=since, grant_id__isnull=False).order_by()
    found = rows.values("grant_id").annotate(n=Count("pk"), last=Max("timestamp"))
    return {row["grant_id"]: (row["n"], row["last"]) for row in found}


def _item(review: AccessReview, grant: Grant, use: Use, now: datetime) -> ReviewItem:
    uses, last = use.get(grant.pk, (0, None))
    proposal, why = _proposal(grant, uses, last, review.days, now)
    return ReviewItem(
        review=review, grant_ref=grant.pk, person=grant.user, group_ref=grant.group_id,
        holder=str(grant.user) if grant.user else f"group {grant.group}"[:200], role=grant.role.name,
        permissions=grant.role.permissions, scope=grant.scope, until=grant.until, given_at=grant.created_at,
        given=f"{grant.reason} (given by {grant.given_by})"[:700], uses=uses, last_used_at=last, proposal=proposal, why=why,
    )  # fmt: skip


def _proposal(grant: Grant, uses: int, last: datetime | None, days: int, now: datetime) -> tuple[str, str]:
    since = now - timedelta(days=days)
    if grant.user and not grant.user.is_active:
        return Decision.REMOVE, "its holder is inactive"
    if uses:
        return Decision.KEEP, f"used {uses} times, last on {last:%Y-%m-%d}"
    if grant.created_at > since:
        return Decision.KEEP, f"given only on {grant.created_at:%Y-%m-%d}"
    if set(grant.role.permissions) <= {Permission.VIEW}:
        seen = _last_sign_in(grant)
        if seen is None or seen <= since:
            return Decision.REMOVE, f"nobody who holds it signed in for {days} days"
        return Decision.KEEP, f"it only looks, which leaves no trace; last sign-in on {seen:%Y-%m-%d}"
    return Decision.REMOVE, f"not used for {days} days"


def _last_sign_in(grant: Grant) -> datetime | None:
    if grant.user:
        return grant.user.last_login
    found: datetime | None = User.objects.filter(groups=grant.group_id).aggregate(last=Max("last_login"))[
        "last"
    ]
    return found


def items_of(review: AccessReview, reader: Any) -> QuerySet[ReviewItem]:
    """What `reader` is the reviewer of: what lies where they manage access, and is not their own."""
    rows = review.items.select_related("scope", "person", "decided_by").order_by("decision", "holder", "pk")
    if not scoping.scopes_of(reader, Permission.MANAGE_ACCESS).everything:
        rows = rows.filter(granting.scopes_managed(reader))
    return rows.exclude(person_id=reader.pk).exclude(
        group_ref__in=list(reader.groups.values_list("pk", flat=True)), group_ref__isnull=False
    )


def decide(item: ReviewItem, *, actor: Any, decision: str, note: str = "") -> ReviewItem:
    """Keep or remove; may be changed until the review is closed.

    Raises PermissionDenied for one's own, where one does not manage access, or for keeping what an account of the same
    person may hold; NotGiven for a closed review, or for going against the proposal without a word.
    """
    note = " ".join(note.split())[:500]
    with transaction.atomic(durable=True), acting(actor, reason=note or f"access review: {decision}"):
        locked = (
            ReviewItem.objects.select_for_update(of=("self",))
            .select_related("review", "scope", "person")
            .get(pk=item.pk)
        )
        if not items_of(locked.review, actor).filter(pk=locked.pk).exists():
            raise PermissionDenied(
                "Somebody else has to decide on this: nobody reviews what they hold themselves."
            )
        if locked.review.closed_at:
            raise NotGiven("This review is closed.")
        if decision not in Decision:
            raise NotGiven("Choose to keep it or to remove it.")
        if decision != locked.proposal and len(note) < 3:
            raise NotGiven(f"The proposal is to {locked.proposal} it; say why not, in a few words.")
        if decision == Decision.KEEP and (why := _not_a_second_person(locked, actor)):
            raise PermissionDenied(why)
        locked.decision, locked.note = decision, note
        locked.decided_by, locked.decided_at = actor, timezone.now()
        locked.save()
    return locked


def _not_a_second_person(item: ReviewItem, actor: Any) -> str:
    """Why `actor` does not count as somebody else beside who holds it; empty where they do. A group is nobody's account."""
    if item.person is None:
        return ""
    try:
        obj = granting.object_of(item.scope)
    except NotGiven:  # it is gone, and what it was on with it
        return ""
    return hands.objection(actor, item.person, Permission.MANAGE_ACCESS, obj)


def close(review: AccessReview, *, actor: Any, reason: str) -> AccessReview:
    """Take away what was decided to be removed, all or nothing; what nobody decided on stays, and the evidence says so.

    Raises NotGiven for a closed one, or where that would leave nobody who manages access; nothing is changed then.
    """
    roles.require_edit(actor)
    if len(reason.strip()) < 3:
        raise NotGiven("Say why it is closed now, in a few words.")
    try:
        with transaction.atomic(durable=True), acting(actor, reason=reason), lockout.somebody_remains():
            locked = AccessReview.objects.select_for_update().get(pk=review.pk)
            if locked.closed_at:
                raise NotGiven("It is closed already.")
            removed = sum(
                _carry_out(item, locked, actor) for item in locked.items.select_for_update(of=("self",))
            )
            locked.closed_by, locked.closed_at = actor, timezone.now()
            locked.save()
            words = f"The access review {locked} was closed: {removed} grants were taken"
            record([event("access.review_closed", words, tone=Tone.WARN if removed else Tone.PLAIN)])
    except lockout.LastManager as error:
        raise NotGiven(str(error)) from error
    return locked


def _carry_out(item: ReviewItem, review: AccessReview, actor: Any) -> bool:
    grant = Grant.objects.filter(pk=item.grant_ref).select_related("user", "group", "scope").first()
    taken = item.decision == Decision.REMOVE and grant is not None
    if taken:
        assert grant is not None  # noqa: S101 - said above
        services.take_grant(
            grant, actor=actor, reason=f"access review {review}: {item.note or item.why}"[:500]
        )
    if item.decision == Decision.REMOVE:
        item.outcome = "removed" if taken else "was gone already"
    else:
        item.outcome = "kept" if item.decision else "kept: nobody decided"
    item.save()
    return taken


def evidence(review: AccessReview) -> Iterator[dict[str, Any]]:
    """Each grant with what was known, proposed, decided and done, as an auditor reads it."""
    for item in review.items.select_related("scope", "person", "decided_by").order_by("pk").iterator(500):
        yield {
            "review": review.name, "started": review.created_at.isoformat(), "started_by": review.started_by.username,
            "closed": review.closed_at.isoformat() if review.closed_at else None,
            "grant": item.grant_ref, "holder": item.holder, "username": item.person.username if item.person else None,
            "role": item.role, "permissions": " ".join(item.permissions), "scope": str(item.scope),
            "until": item.until.isoformat() if item.until else None, "given": item.given, "given_at": item.given_at.isoformat(),
            "uses": item.uses, "days": review.days, "last_used": item.last_used_at.isoformat() if item.last_used_at else None,
            "proposal": item.proposal, "why": item.why, "decision": item.decision or None, "note": item.note,
            "decided_by": item.decided_by.username if item.decided_by else None,
            "decided_at": item.decided_at.isoformat() if item.decided_at else None, "outcome": item.outcome or None,
        }  # fmt: skip


def whole(review: AccessReview, reader: Any) -> dict[str, int]:
    """How far it is; for who reviews a part, of that part."""
    rows = review.items.all() if roles.may_edit(reader) else items_of(review, reader).order_by()
    return rows.aggregate(
        items=Count("pk"), decided=Count("pk", filter=~Q(decision="")),
        remove=Count("pk", filter=Q(decision=Decision.REMOVE)),
        proposed=Count("pk", filter=Q(proposal=Decision.REMOVE)),
    )  # fmt: skip
