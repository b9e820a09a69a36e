"""Every address. Each route declares its permission; tests/meta/test_routes.py holds that."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("apps.access.urls_shell")),
    path("", include("apps.fleet.urls")),
    path("tenants/", include("apps.tenants.urls")),
    path("cloud-accounts/", include("apps.accounts.urls")),
    path("releases/", include("apps.releases.urls")),
    path("operations/", include("apps.operations.urls")),
    path("alerts/", include("apps.alerts.urls")),
    path("cost/", include("apps.cost.urls")),
    path("access/", include("apps.access.urls")),
    path("api/v1/", include("apps.fleet.urls_api")),
    path("api/v1/", include("apps.releases.urls_api")),
    path("scim/v2/", include("apps.access.scim.urls")),
    path("audit/", include("apps.audit.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
]

handler403 = "apps.access.shell_views.permission_denied"
handler500 = "apps.access.shell_views.server_error"
