"""Django's admin app with the desk's own site. Apart from the site, because apps are loaded before
models are.
"""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class LoupeAdminConfig(AdminConfig):
    default_site = "config.admin_site.LoupeAdminSite"
