from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

# Every address and view now, not with somebody's first request.
_ = get_resolver().url_patterns
# What is loaded stays for good. Unless Python is told, it looks through all of it for garbage now and then, which makes
# somebody wait for a tenth of a second.
gc.collect()
gc.freeze()
# And then not after every 700 objects, of which a page makes several times as many and leaves next to none.
gc.set_threshold(20_000, 10, 10)
