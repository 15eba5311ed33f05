from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from config import metrics_files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
metrics_files.prepare()  # before the middleware creates its counters
application = get_wsgi_application()
