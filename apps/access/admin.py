"""Data fixes of people, roles and grants; what others' packages keep about them; the ground floor's rows.

The ground floor cannot name `access`, so its admins stand here.
"""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from apps.core.models import Event, SavedView

from . import granting, hands, leaving, recordadmin, roles, services  # noqa: F401 - recordadmin registers itself
from .choices import HandKind, Permission, UserKind
from .fixadmin import AccessAdmin, FixAdmin, ReadOnlyAdmin, VisibleRelated, given_reason
from .models import (
    Grant,
    Role,
    Scope,
    User,
)


@admin.register(User)
class UserAdmin(AccessAdmin):
    """People. A password is never set or shown here: a new person signs in by a link or a reset of their own."""

    list_display = (
        "username",
        "first_name",
        "last_name",
        "email",
        "kind",
        "is_active",
        "is_superuser",
        "last_login",
    )
    list_filter = ("kind", "is_active", "is_superuser", ("groups", VisibleRelated))
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    fields = (
        "username",
        "first_name",
        "last_name",
        "email",
        "zone",
        "is_active",
        "is_superuser",
        "is_emergency",
        "external_id",
        "groups",
        "date_joined",
        "last_login",
    )
    readonly_fields = ("date_joined", "last_login")
    autocomplete_fields = ("groups",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Only a superuser makes superusers; nobody else joins a group by their own hand.

        Nor changes the name or the address that another signs in by: whoever reads a person's mail can be that person.
        """
        if request.user.is_superuser:
            return self.readonly_fields
        own = ("groups",) if obj is not None and obj.pk == request.user.pk else ()
        sign_in = ("username", "email", "external_id") if obj is not None else ("external_id",)
        return (*self.readonly_fields, "is_superuser", "is_emergency", *sign_in, *own)

    def _is_out_of_reach(self, request: HttpRequest, obj: Any) -> bool:
        """The system's own actors are nobody's to change, somebody who may do more than the reader is not theirs."""
        return obj is not None and (obj.kind == UserKind.SYSTEM or granting.holds_more(obj, request.user))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not self._is_out_of_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_delete_permission(request, obj) and not self._is_out_of_reach(request, obj)
        return may and (obj is None or obj.pk != request.user.pk)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Raises PermissionDenied, and so undoes everything, for a group that may do more than its author."""
        before = set(obj.groups.all()) if change else set()
        joined = set(form.cleaned_data.get("groups") or ()) - before
        for group in joined:
            granting.check_may_join(request.user, group)
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        self._note_hands(request.user, obj, set(form.changed_data), joined, change)

    def _note_hands(self, by: Any, obj: User, changed: set[str], joined: set[Group], change: bool) -> None:
        """What the two-person rule has to know of it."""
        if not change:
            hands.note(by=by, how=HandKind.MADE, people=[obj.pk], words=f"{by} made the account of {obj}")
        elif changed & {"username", "email", "external_id", "is_superuser"}:
            words = f"{by} changed by what {obj} signs in, or what they are"
            hands.note(by=by, how=HandKind.IDENTITY, people=[obj.pk], words=words)
        if change and "is_active" in changed and obj.is_active:
            hands.note(
                by=by,
                how=HandKind.BACK,
                people=[obj.pk],
                words=f"{by} switched the account of {obj} on again",
            )
        for group in joined:
            words = f"{by} put {obj} into the group {group}"
            hands.note(by=by, how=HandKind.JOINED, people=[obj.pk], group=group.pk, words=words)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Who is made inactive has left: all that they hold ends, their groups too, so it comes after these are saved."""
        super().save_related(request, form, formsets, change)
        if change and "is_active" in form.changed_data and not form.instance.is_active:
            leaving.leave(form.instance, actor=request.user, reason=given_reason(request))


@admin.register(Group)
class GroupAdmin(AccessAdmin):
    """Names of groups; what a group may is in its grants, who is in it on the person."""

    list_display = ("name",)
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name",)


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]
    """The permissions as ticks."""

    permissions = forms.MultipleChoiceField(
        choices=Permission.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="what the role allows",
    )

    class Meta:
        model = Role
        fields = ("name", "description", "permissions")


@admin.register(Role)
class RoleAdmin(AccessAdmin):
    """A changed role is carried to everyone who holds it, in the same transaction."""

    form = RoleForm
    list_display = ("name", "description", "permissions")
    search_fields = ("name", "description")

    def save_model(self, request: HttpRequest, obj: Role, form: Any, change: bool) -> None:
        added = set(obj.permissions) - set(form.initial.get("permissions", ()) if change else ())
        granting.check_holds_everywhere(request.user, obj, sorted(added))
        super().save_model(request, obj, form, change)
        services.sync_role(obj)
        roles.note_added(obj, added, request.user)


@admin.register(Scope)
class ScopeAdmin(ReadOnlyAdmin):
    """Made on first use; nothing to fix but to look up."""

    on_everything = True
    list_display = ("kind", "label", "object_id")
    list_filter = ("kind",)
    search_fields = ("label",)
    ordering = ("kind", "label")


class GrantForm(forms.ModelForm):  # type: ignore[type-arg]
    """A role for one person or one group."""

    class Meta:
        model = Grant
        fields = ("user", "group", "role", "scope", "until")

    def clean_until(self) -> Any:
        until = self.cleaned_data.get("until")
        if until is not None and until <= timezone.now():
            raise forms.ValidationError(
                "This time has passed; leave it empty for a grant without an end, or delete the grant."
            )
        return until


@admin.register(Grant)
class GrantAdmin(AccessAdmin):
    """Given, moved and taken by the services that pages use, so that guardian's rows follow at once."""

    form = GrantForm
    list_display = ("holder", "role", "scope", "until", "given_by", "reason", "created_at")
    list_filter = (("role", VisibleRelated), "until")
    list_select_related = ("user", "group", "role", "scope", "given_by")
    search_fields = ("user__username", "user__email", "group__name", "role__name", "scope__label", "reason")
    autocomplete_fields = ("user", "group", "role", "scope")
    fields = ("user", "group", "role", "scope", "until", "given_by", "reason", "created_at")
    readonly_fields = ("given_by", "reason", "created_at")

    @admin.display(description="To")
    def holder(self, grant: Grant) -> str:
        return str(grant.user or grant.group)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Of a grant only its end moves; anything else is another grant."""
        return (
            self.readonly_fields if obj is None else ("user", "group", "role", "scope", *self.readonly_fields)
        )

    def save_model(self, request: HttpRequest, obj: Grant, form: Any, change: bool) -> None:
        to = obj.user or obj.group
        assert to is not None  # noqa: S101 - the constraint grant_to_one_holder was checked with the form
        actor: Any = request.user
        granting.check_may_give_in_admin(actor, to, obj.role, obj.until)
        given = services.give_grant(
            to=to,
            role=obj.role,
            scope=obj.scope,
            until=obj.until,
            actor=actor,
            reason=given_reason(request),
        )
        obj.__dict__.update(given.__dict__)

    def delete_model(self, request: HttpRequest, obj: Grant) -> None:
        actor: Any = request.user
        services.take_grant(obj, actor=actor, reason=given_reason(request))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Grant]) -> None:
        for grant in queryset.select_related("user", "group", "scope"):
            self.delete_model(request, grant)


class OfPeople(AccessAdmin):
    """What allauth keeps about a person. Their secrets are not among the fields, in any form."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or not granting.holds_more(obj.user, request.user))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        by: Any = request.user
        words = f"{by} took a second factor or an address of {obj.user} away"
        hands.note(by=by, how=HandKind.FACTOR, people=[obj.user_id], words=words)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset.select_related("user"):
            self.delete_model(request, row)


@admin.register(EmailAddress)
class EmailAddressAdmin(OfPeople):
    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email", "user__username")
    fields = ("user", "email", "primary", "verified")


@admin.register(Authenticator)
class AuthenticatorAdmin(OfPeople):
    """Second factors: that there is one, and since when. Deleting one is the answer to a lost phone."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email")
    fields = ("user", "type", "created_at", "last_used_at")


@admin.register(SavedView)
class SavedViewAdmin(FixAdmin):
    on_everything = True
    list_display = ("name", "page", "owner", "is_shared")
    list_filter = ("is_shared",)
    list_select_related = ("owner",)
    search_fields = ("name", "page", "owner__username")
    autocomplete_fields = ("owner",)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """What happened. Rows by the timeline's own index; there is no search over texts, which nothing would serve."""

    list_display = ("at", "kind", "title", "why", "actor", "operation_id")
    list_filter = ("tone",)
    list_select_related = ("actor",)
    search_fields = ("=operation_id", "=instance_id", "=tenant_id")
    search_help_text = "id of an operation, an instance or a tenant"
    ordering = ("-at", "-id")
