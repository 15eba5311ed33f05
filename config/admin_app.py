"""Django's admin app with Loupe's admin site.

Separate from the site, because apps are loaded before models.
"""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class LoupeAdminConfig(AdminConfig):
    default_site = "config.admin_site.LoupeAdminSite"
