"""The admin site of the portal: the console's own sign-in and permissions, models by floor."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from .choices import Permission, UserKind
from .fixadmin import FixAdmin
from .scoping import holds

OURS = "apps."


class FixSite(admin.AdminSite):
    """Django admin for data fixes. Who holds “Fix data in the admin” somewhere may come in; `is_staff` says nothing."""

    site_header = "Data fixes"
    site_title = "Daytwo data fixes"
    index_title = "Data fixes"
    enable_nav_sidebar = True
    empty_value_display = "—"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")  # FixAdmin has its own, which asks for a reason

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Only a FixAdmin comes in: what other packages bring asks for no reason, knows no scope and shows secrets."""
        if admin_class is not None and issubclass(admin_class, FixAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(
            user.is_authenticated
            and user.is_active
            and user.kind == UserKind.PERSON
            and holds(user, Permission.FIX_DATA)
        )

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The console's sign-in page; a plain refusal for who is signed in and may not come in."""
        wanted = request.GET.get("next", "")
        if not url_has_allowed_host_and_scheme(
            wanted, {request.get_host()}, require_https=request.is_secure()
        ):
            wanted = f"/{self.name}/"
        if self.has_permission(request):
            return redirect(wanted)
        if request.user.is_authenticated:
            raise PermissionDenied(
                f"You need the permission “{Permission.FIX_DATA.label}”; ask whoever manages access."
            )
        return redirect_to_login(wanted, "account_login")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Signing out is the console's own page."""
        return redirect("account_logout")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Changing one's password is the console's own page, which asks for the old one and for a second factor."""
        return redirect("account_change_password")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps from the top floor down, then what is not ours."""
        floors = [
            config.label for config in reversed(list(apps.get_app_configs())) if config.name.startswith(OURS)
        ]
        rank = {label: place for place, label in enumerate(floors)}
        listed: list[Any] = super().get_app_list(request, app_label)
        return sorted(listed, key=lambda app: (rank.get(app["app_label"], len(rank)), app["name"]))
