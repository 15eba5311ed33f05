"""Static files in production: compressed, with a hash of the content in the name."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Put the hashed names into the imports of our JavaScript modules, too.

    Django's own patterns for modules are all or nothing, and fail on an import that a comment of
    django-htmx mentions. These patterns cover static/js, in the one form that prettier writes.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        (
            "js/*.js",
            (
                (r'(?P<matched>from "(?P<url>\.[^"\n]+)";)', 'from "%(url)s";'),
                (r'(?P<matched>import "(?P<url>\.[^"\n]+)";)', 'import "%(url)s";'),
            ),
        ),
    )
    # A pass settles at least one level of imports. The deepest chain has about ten.
    max_post_process_passes = 20
