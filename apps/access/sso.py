"""Signing in by the company's OpenID Connect provider: who may come in, and into which groups that puts them.

A person is known by issuer and `sub`, never by a name or an address that may be given to somebody else. Only with
OIDC_LINK_BY_EMAIL is somebody who is here already met by an address that the provider has verified; a superuser never.
"""

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.shortcuts import redirect

from apps.core.context import acting
from apps.core.events import event, record

from . import granting, hands, lockout, roles, services
from .choices import HandKind, UserKind
from .granting import NotGiven
from .models import SsoGroup, User

#: Groups that one sign-in may name; a claim with more is cut, which can only take rights away.
MOST_GROUPS = 500


def groups_of(claims: dict[str, Any]) -> frozenset[str]:
    """The groups that the provider names, from userinfo or else the ID token; whatever is no text is left out."""
    for part in (claims.get("userinfo"), claims.get("id_token"), claims):
        found = part.get(settings.OIDC_GROUPS_CLAIM) if isinstance(part, dict) else None
        if found is not None:
            listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
            return frozenset(name for name in listed[:MOST_GROUPS] if isinstance(name, str))
    return frozenset()


def mapped(names: frozenset[str]) -> QuerySet[Group]:
    """The groups here that those at the provider mean."""
    return Group.objects.filter(sso_groups__claim__in=names).distinct().order_by("name")


def directory_names(person: User) -> frozenset[str]:
    """The groups that the directory (SCIM) has put them into: a sign-in without a groups claim takes nobody out of them."""
    rows = person.scim_groups.values_list("display_name", "external_id")
    return frozenset(name for row in rows for name in row if name)


def provisioned(account: Any) -> User | None:
    """Whom the directory made under the very id that the provider signs in: `sub`, or Entra's `oid`.

    Never a superuser or an emergency account: nobody becomes one of those by what a directory says.
    """
    claims = account.extra_data
    parts = [
        part for part in (claims.get("userinfo"), claims.get("id_token"), claims) if isinstance(part, dict)
    ]
    ids = {str(account.uid)} | {str(part["oid"]) for part in parts if part.get("oid")}
    rows = User.objects.filter(is_active=True, is_superuser=False, is_emergency=False, kind=UserKind.PERSON)
    found: User | None = rows.filter(external_id__in=ids - {""}).order_by("pk").first()
    return found


def sync(person: User, names: frozenset[str]) -> None:
    """Put `person` into the mapped groups that the provider or the directory (SCIM) names, and out of those neither does.

    Raises lockout.LastManager where that would leave nobody who manages access; nothing is changed then.
    """
    wanted = set(mapped(names | directory_names(person)))
    held = set(person.groups.filter(sso_groups__isnull=False).distinct())
    if wanted == held:
        return
    reason = "as the identity provider says at sign-in"
    with (
        transaction.atomic(),
        acting(services.system_actor("sso"), reason=reason, via="system"),
        lockout.somebody_remains(),
    ):
        person.groups.add(*(wanted - held))
        person.groups.remove(*(held - wanted))
        record(
            [event("group.joined", f"{person} is in the group {group}: {reason}") for group in wanted - held]
            + [
                event("group.left", f"{person} is no longer in the group {group}: {reason}")
                for group in held - wanted
            ]
        )


def map_group(*, claim: str, group: Group, actor: Any, reason: str) -> SsoGroup:
    """Let a group at the provider mean one here: for who the directory (SCIM) says is in it now, else at the next sign-in.

    Raises PermissionDenied where that group may do more than `actor`: they may be in it over there. NotGiven twice.
    """
    roles.require_edit(actor)
    granting.check_may_join(actor, group)
    claim = claim.strip()
    if SsoGroup.objects.filter(claim=claim, group=group).exists():
        raise NotGiven(f"{claim} means {group} already.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        made = SsoGroup.objects.create(claim=claim, group=group)
        words = f"{actor} let {claim} at the provider mean the group {group}"
        hands.note(by=actor, how=HandKind.MAPPED, group=group.pk, words=words)
        here_now = User.objects.filter(
            Q(scim_groups__display_name=claim) | Q(scim_groups__external_id=claim), is_active=True
        )
        group.user_set.add(*here_now.exclude(pk=actor.pk).distinct())
        record([event("sso.mapped", f"Who is in {claim} at the identity provider is in {group}")])
    return made


def unmap_group(row: SsoGroup, *, actor: Any, reason: str) -> None:
    """From now on it means nothing; who is in the group here stays in it until taken out. Raises NotGiven without a reason."""
    roles.require_edit(actor)
    if len(reason.strip()) < 3:
        raise NotGiven("Say why, in a few words.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        record([event("sso.unmapped", f"{row.claim} at the identity provider means {row.group} no longer")])
        row.delete()


class SsoAdapter(DefaultSocialAccountAdapter):
    """allauth's hooks: each sign-in by the provider goes through `pre_social_login`, a first one through `save_user` too."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Groups as the provider says, before anybody is let in. Refuses who is nobody here and in no mapped group."""
        if sociallogin.is_existing:
            self._sync(request, sociallogin.user, sociallogin)
            return
        if sociallogin.state.get("process") == "connect":
            return  # who is signed in already links their own account
        if person := provisioned(sociallogin.account):
            reason = "first sign-in of somebody the directory made"
            with transaction.atomic(), acting(services.system_actor("sso"), reason=reason, via="system"):
                sociallogin.connect(request, person)
                self._sync(request, person, sociallogin)
            return
        if not mapped(groups_of(sociallogin.account.extra_data)).exists():
            self._refuse(
                request,
                "None of your groups at the identity provider means anything here; ask whoever manages access.",
            )
        email = sociallogin.user.email
        if not email or User.objects.filter(email__iexact=email).exists():
            self._refuse(
                request,
                "Somebody with your address is here already; sign in as before and link it under your account.",
            )

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """`pre_social_login` has refused who may not."""
        return True

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        """A first sign-in makes the person, without a password."""
        reason = "first sign-in by the identity provider"
        with transaction.atomic(), acting(services.system_actor("sso"), reason=reason, via="system"):
            person = super().save_user(request, sociallogin, form)
            self._sync(request, person, sociallogin)
        return person

    def authenticate_by_email(self, sociallogin: Any) -> Any:
        """As allauth's, but nobody becomes a superuser, or one of the system's own, by an address."""
        found = super().authenticate_by_email(sociallogin)
        is_ordinary = found and not found[0].is_superuser and not found[0].is_emergency
        return found if is_ordinary and found[0].kind == UserKind.PERSON else None

    def _sync(self, request: HttpRequest, person: Any, sociallogin: Any) -> None:
        try:
            sync(person, groups_of(sociallogin.account.extra_data))
        except lockout.LastManager as error:
            self._refuse(request, str(error))

    def _refuse(self, request: HttpRequest, why: str) -> None:
        messages.error(request, why)
        raise ImmediateHttpResponse(redirect("account_login"))
