"""Django's settings, parsed from WEBDOCK_* variables (docs/operations.md lists them); nothing but parsing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import dj_database_url

from runtime.api import logs
from webdock import environ as env
from webdock import oidc

BASE_DIR = Path(__file__).resolve().parent.parent
if not (BASE_DIR / "templates").is_dir():  # installed with pip: setup.py puts them inside the package
    BASE_DIR = Path(__file__).resolve().parent

# Places
WEBDOCK_HOME = Path(os.environ.get("WEBDOCK_HOME", "/var/lib/webdock"))
WEBDOCK_RUN = Path(os.environ.get("WEBDOCK_RUN", "/run/webdock"))
WEBDOCK_LISTEN = os.environ.get("WEBDOCK_LISTEN", "127.0.0.1:8000")
WEB_DIR = WEBDOCK_HOME / "web"  # the only directory this process writes

# Engines: alias -> url of the Engine API. The first one is what pages show when nothing else is asked for.
ENGINES = {"local": f"unix://{WEBDOCK_RUN}/web.sock"}
for _entry in env.words(os.environ, "WEBDOCK_ENGINES"):
    _alias, _equals, _url = _entry.partition("=")
    if not _equals:
        raise env.BadVariable(f"WEBDOCK_ENGINES: {_entry!r} is not alias=url")
    ENGINES[_alias] = _url

# Who may reach us, and as what
PUBLIC_URL = env.public_url(os.environ)
BEHIND_PROXY = env.flag(os.environ, "WEBDOCK_BEHIND_PROXY")  # believe X-Forwarded-For and -Proto
ALLOWED_HOSTS = [
    *env.words(os.environ, "WEBDOCK_ALLOWED_HOSTS"),
    *([PUBLIC_URL.host] if PUBLIC_URL else []),
    *env.own_hosts(WEBDOCK_LISTEN),
]
CSRF_TRUSTED_ORIGINS = [
    *env.words(os.environ, "WEBDOCK_TRUSTED_ORIGINS"),
    *([PUBLIC_URL.origin] if PUBLIC_URL else []),
]
FORCE_SCRIPT_NAME = (PUBLIC_URL.path if PUBLIC_URL else "") or None
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
PING_S = env.seconds(os.environ, "WEBDOCK_PING_S", 25, 600)  # proxies cut silent sockets after 30 or 60 s
SECURE = PUBLIC_URL.secure if PUBLIC_URL else False  # people reach us over TLS

DEBUG = env.flag(os.environ, "WEBDOCK_DEBUG")
METRICS_TOKEN = env.secret(os.environ, "WEBDOCK_METRICS_TOKEN_FILE")  # who shows it may read /metrics
SECRET_KEY = env.secret_key(os.environ, WEB_DIR)
REGISTRIES_KEY_FILE = WEB_DIR / "registries.key"  # encrypts registries' passwords and second factors

INSTALLED_APPS = [
    "webdock.people.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "webdock.engines",
    "webdock.people",
    "webdock.jobs.apps.JobsConfig",
    "webdock.registries.apps.RegistriesConfig",
    "images_app",
    "containers_app",
]

MIDDLEWARE = [
    "webdock.engines.middleware.HeadersMiddleware",
    "webdock.engines.middleware.StaticMiddleware",
    "webdock.engines.onloop.SecurityMiddleware",
    "webdock.engines.middleware.CompressionMiddleware",
    "webdock.engines.onloop.SessionMiddleware",
    "webdock.engines.onloop.LocaleMiddleware",
    "webdock.engines.onloop.CommonMiddleware",
    "webdock.engines.onloop.CsrfViewMiddleware",
    "webdock.engines.onloop.AuthenticationMiddleware",
    "webdock.engines.onloop.MessageMiddleware",
    "webdock.people.rights.RightsMiddleware",
]

ROOT_URLCONF = "webdock.urls"
ASGI_APPLICATION = "webdock.asgi.application"

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
                "django.template.context_processors.i18n",
                "webdock.context.common",
            ],
        },
    },
]

# Database: SQLite unless WEBDOCK_DATABASE_URL names PostgreSQL.
DATABASE_URL = os.environ.get("WEBDOCK_DATABASE_URL", "")
if DATABASE_URL:
    # Requests end with their threads, so a lasting connection would only be lost with them (max age 0).
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=0)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": WEB_DIR / "webdock.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # IMMEDIATE: a writer queues for the lock at BEGIN instead of failing half-way.
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": (
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                    "PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY"
                ),
            },
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Hints between consumers and the sync: in memory for one web process, Redis for several.
REDIS_URL = os.environ.get("WEBDOCK_REDIS_URL", "")
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL], "prefix": "webdock"},
        },
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"group_expiry": 10 * 365 * 24 * 3600},  # a page stays open for more than a day
        },
    }

# People
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
CSRF_FAILURE_VIEW = "webdock.people.views.csrf_failure"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"

OIDC = oidc.provider(os.environ)  # whom else we believe who somebody is; None: passwords alone
ADMIN_SECOND_FACTOR = env.flag(os.environ, "WEBDOCK_ADMIN_SECOND_FACTOR")  # administrators must have one

AUDIT_DAYS = int(os.environ.get("WEBDOCK_AUDIT_DAYS", "365"))  # how long the audit trail is kept
RECORD_TERMINALS = env.choice(
    os.environ, "WEBDOCK_RECORD_TERMINALS", ("asked", "always", "never")
)  # who is in a terminal is told
RECORDING_DAYS = int(os.environ.get("WEBDOCK_RECORDING_DAYS", "90"))  # how long recordings are kept
TERMINAL_IDLE_HOURS = env.hours_each(
    os.environ, "WEBDOCK_TERMINAL_IDLE_HOURS", 12, ("viewer", "operator", "admin")
)  # without a browser, by the role of whose terminal it is

# Cookies are shared by every port of a host, so each instance has its own names.
_INSTANCE = hashlib.sha256(str(WEBDOCK_HOME).encode()).hexdigest()[:6]
SESSION_COOKIE_NAME = f"webdock_session_{_INSTANCE}"
CSRF_COOKIE_NAME = f"webdock_csrf_{_INSTANCE}"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = SECURE
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = SECURE
if FORCE_SCRIPT_NAME:
    SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = FORCE_SCRIPT_NAME + "/"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE else 0
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# Static files: hashed names after collectstatic, straight from the tree before it.
STATIC_URL = f"{FORCE_SCRIPT_NAME or ''}/static/"  # said whole: whoever asks first may know no prefix
STATIC_ROOT = Path(os.environ.get("WEBDOCK_STATIC_ROOT", BASE_DIR / "staticfiles"))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "webdock.engines.static.HashedStorage"},
}
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Languages and times
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = [("en", "English")]  # each in its own words: who looks for it reads no other
if (LOCALE_PATHS[0] / "zh_Hans" / "LC_MESSAGES" / "django.mo").exists():  # half a translation helps nobody
    LANGUAGES.append(("zh-hans", "简体中文"))
LANGUAGE_COOKIE_NAME = "webdock_language"
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = SECURE
if FORCE_SCRIPT_NAME:
    LANGUAGE_COOKIE_PATH = FORCE_SCRIPT_NAME + "/"
USE_I18N = True
USE_TZ = True
TIME_ZONE = os.environ.get("WEBDOCK_TIME_ZONE", "UTC")

# Bodies: forms are small; uploads of files and images stream past Django's limits in their own views.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

try:
    LOG_LEVEL = logs.level_of(os.environ).upper()
    logs.formatter_of(os.environ)
except ValueError as error:
    raise env.BadVariable(str(error)) from None
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "runtime.api.logs.formatter_of", "environ": os.environ}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "webdock": {"level": LOG_LEVEL},
        "containers_app": {"level": LOG_LEVEL},
        "images_app": {"level": LOG_LEVEL},
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # any port scan would fill the log
    },
}
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # redirecting to TLS is the proxy's work
]
