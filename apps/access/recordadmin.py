"""Records about access in the admin: what was asked for, taken, mapped, made. Looked up, and mended nowhere but on their pages."""

from django.contrib import admin

from .fixadmin import ReadOnlyAdmin
from .models import (
    AccessRequest,
    AccessReview,
    ApiToken,
    BreakGlass,
    Hand,
    Notice,
    PreApproval,
    ReviewItem,
    ScimGroup,
    SsoGroup,
)


class AskedAdmin(ReadOnlyAdmin):
    """What was asked for or taken, and who decided: a record, looked up and not mended."""

    on_everything = True
    list_select_related = ("person", "role", "scope")
    search_fields = ("person__username", "role__name", "scope__label", "reason")
    ordering = ("-id",)


@admin.register(AccessRequest)
class AccessRequestAdmin(AskedAdmin):
    list_display = ("person", "role", "scope", "minutes", "state", "until", "created_at")
    list_filter = ("state",)


@admin.register(BreakGlass)
class BreakGlassAdmin(AskedAdmin):
    list_display = ("person", "role", "scope", "started_at", "until", "verdict", "reviewed_by")
    list_filter = ("verdict",)


@admin.register(PreApproval)
class PreApprovalAdmin(ReadOnlyAdmin):
    """Made and ended on its page, which asks who may give what."""

    on_everything = True
    list_display = ("group", "role", "scope", "max_minutes", "given_by")
    list_select_related = ("group", "role", "scope", "given_by")
    search_fields = ("group__name", "role__name", "scope__label")


@admin.register(AccessReview)
class AccessReviewAdmin(ReadOnlyAdmin):
    """Evidence: begun and closed on its page."""

    on_everything = True
    list_display = ("name", "started_by", "created_at", "closed_by", "closed_at")
    list_select_related = ("started_by", "closed_by")
    search_fields = ("name",)


@admin.register(ReviewItem)
class ReviewItemAdmin(ReadOnlyAdmin):
    """Evidence: decided on its review's page."""

    on_everything = True
    list_display = ("review", "holder", "role", "scope", "proposal", "decision", "decided_by", "outcome")
    list_filter = ("proposal", "decision")
    list_select_related = ("review", "scope", "decided_by")
    search_fields = ("holder", "role", "review__name")


@admin.register(SsoGroup)
class SsoGroupAdmin(ReadOnlyAdmin):
    """Mapped and unmapped on its page, which asks who may let others into that group."""

    on_everything = True
    list_display = ("claim", "group", "created_at")
    list_select_related = ("group",)
    search_fields = ("claim", "group__name")


@admin.register(ScimGroup)
class ScimGroupAdmin(ReadOnlyAdmin):
    """The directory's own: it is changed over there."""

    on_everything = True
    list_display = ("display_name", "external_id", "updated_at")
    search_fields = ("display_name", "external_id")
    fields = ("display_name", "external_id")


@admin.register(Hand)
class HandAdmin(ReadOnlyAdmin):
    """Who had a hand in whose account: what the two-person rule goes by."""

    on_everything = True
    list_display = ("at", "words", "how")
    list_filter = ("how",)
    search_fields = ("words",)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """That there is one, and since when it was used. Its digest is not among the fields."""

    on_everything = True
    list_display = ("name", "start", "owner", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name", "start", "owner__username")
    fields = ("name", "start", "owner", "permissions", "may_give", "expires_at", "last_used_at", "revoked_at")


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """Letters: what could not be sent, and why."""

    on_everything = True
    list_display = ("created_at", "to", "subject", "sent_at", "tries", "error")
    search_fields = ("to", "subject")
    fields = ("created_at", "to", "subject", "due_at", "sent_at", "tries", "error")
