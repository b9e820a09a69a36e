"""The admin site of the portal (see FixAdmin, which every model's admin is made of)."""

from django.contrib import admin


class FixSite(admin.AdminSite):
    """Django admin under the portal's own sign-in and permissions."""

    site_header = "Daytwo data fixes"
