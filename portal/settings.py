"""Settings, every one from the environment (docs/reference/settings.md lists them).

Development is the default and needs nothing set but a database; production
(`DAYTWO_ENV=production`) refuses to start with anything that is only fit for a laptop: see
`portal/checks.py`.
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DAYTWO_ENV = env.str("DAYTWO_ENV", default="development")
PRODUCTION = DAYTWO_ENV == "production"
DEBUG = env.bool("DEBUG", default=False)
DAYTWO_DATA_DIR = Path(env.str("DAYTWO_DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()


def kept(name: str, default: str) -> str:
    """What `make up` keeps beside the data, so that `manage.py` in a second terminal meets the same portal."""
    path = DAYTWO_DATA_DIR / name
    try:
        return default if PRODUCTION else path.read_text().strip() or default
    except OSError:
        return default


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


INSECURE_KEY = "insecure-development-key-of-daytwo-not-for-production-0123456789"
SECRET_KEY = env.str("SECRET_KEY", default=kept("secret_key", INSECURE_KEY))
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "apps.core",
    "apps.access",
    "apps.audit",
    "apps.operations",
    "apps.accounts",
    "apps.tenants",
    "apps.fleet",
    "apps.releases",
    "apps.alerts",
    "apps.cost",
    "django.contrib.humanize",
    "portal.admin.DaytwoAdminConfig",
    "guardian",
    "auditlog",
    "dramatiq_postgres.django",
    "portal.apps.PortalConfig",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "axes",
    "django_htmx",
    "django_filters",
    "django_tables2",
    "template_partials",
]

MIDDLEWARE = [
    # First: all that a request calls stands in its frame's memory.
    "apps.core.frames.with_room",
    # Before all else that answers: a directory asks over plain http, under the name that is to be proved.
    "apps.fleet.certificates.acme.answering.ChallengeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.core.middleware.DatabaseAwayMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    # Behind the one that reads the form anyway.
    "apps.core.middleware.ReadableTextMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.access.middleware.ActingMiddleware",
    "apps.audit.middleware.TrailMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "apps.access.session_middleware.SessionLimitsMiddleware",
    "apps.access.session_middleware.SecondFactorMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
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
                "apps.access.context_processors.shell",
            ],
            "builtins": ["apps.core.templatetags.ui"],
        },
    }
]

# --- Database: PostgreSQL, and only PostgreSQL ------------------------------------------------
DATABASES = {
    "default": {
        **env.db_url(
            "DATABASE_URL", default=kept("database_url", "postgres://postgres@127.0.0.1:5432/daytwo")
        ),
        # Kept connections: opening one for each request costs more than most pages (see docs/decisions).
        "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=600),
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "DISABLE_SERVER_SIDE_CURSORS": env.bool("DATABASE_BEHIND_PGBOUNCER", default=False),
    }
}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", 5)
DATABASES["default"]["OPTIONS"].setdefault("application_name", "daytwo")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Queue: a message is a hint, the row is the truth -----------------------------------------
DRAMATIQ_BROKER_URL = env.str("DRAMATIQ_BROKER_URL", default="")
# Untuned, a killed worker's message comes back after 94 s; with these after 11 s.
DRAMATIQ_BROKER = {
    "OPTIONS": {
        "heartbeat_interval": 2,
        "heartbeat_ttl": 10,
        "maintenance_interval": 5,
        "results": False,
    },
}

# --- The engine -------------------------------------------------------------------------------
OPERATIONS_LEASE_SECONDS = env.float("OPERATIONS_LEASE_SECONDS", default=10.0)
OPERATIONS_BATCH = env.int("OPERATIONS_BATCH", default=100)
OPERATIONS_PROBE_SECONDS = env.float("OPERATIONS_PROBE_SECONDS", default=2.0)
# Days of coarse history; charts compare with last week.
HISTORY_DAYS = env.int("HISTORY_DAYS", default=9)
# Days for which timelines tell what happened; older months of events go as a whole.
EVENTS_DAYS = env.int("EVENTS_DAYS", default=400)
CERTIFICATES_LOOK_SECONDS = env.float("CERTIFICATES_LOOK_SECONDS", default=300.0)
# Seals the keys of ACME accounts and of orders under way; empty: SECRET_KEY does.
CERTIFICATES_SEAL_KEY = env.str("CERTIFICATES_SEAL_KEY", default="")

# --- Releases ---------------------------------------------------------------------------------
# Public Ed25519 keys in base64. With one set, a release whose artifacts lack a good signature is not deployed.
RELEASE_SIGNING_KEYS = env.list("RELEASE_SIGNING_KEYS", default=[])
RELEASE_UPLOAD_MAX_BYTES = env.int("RELEASE_UPLOAD_MAX_BYTES", default=20 * 1024 * 1024)
# --- Told before the customer is ---------------------------------------------------------------
# Seals channels' addresses and webhooks' secrets; without one they are sealed by a key made of SECRET_KEY.
ALERTS_SEAL_KEY = env.str("ALERTS_SEAL_KEY", default="")
ALERTS_BACKLOG = env.int("ALERTS_BACKLOG", default=50_000)
ALERTS_GROUP_SECONDS = env.float("ALERTS_GROUP_SECONDS", default=300.0)
ALERTS_QUIET_SECONDS = env.float("ALERTS_QUIET_SECONDS", default=30.0)
# A Prometheus, or what speaks its API, for rules in PromQL; the token goes as a bearer.
PROMETHEUS_URL = env.str("PROMETHEUS_URL", default="")
PROMETHEUS_TOKEN = env.str("PROMETHEUS_TOKEN", default="")
ALERTS_WATCHER_URL = env.str("ALERTS_WATCHER_URL", default="")
DAYTWO_URL = env.str("DAYTWO_URL", default="")

# --- Who ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "access.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "sesame.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "apps.access.adapters.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
MFA_TOTP_ISSUER = "Daytwo"
# The link that `make up` prints: works once, for ten minutes, and only where it is switched on.
SIGNIN_LINKS = env.bool("DAYTWO_SIGNIN_LINKS", default=not PRODUCTION)
SESAME_MAX_AGE = 600
SESAME_ONE_TIME = True
GUARDIAN_RAISE_403 = True
GUARDIAN_MONKEY_PATCH_USER = False
GUARDIAN_USER_OBJ_PERMS_MODEL = "guardian.UserObjectPermission"
ANONYMOUS_USER_NAME = None

# Who may change something gives a second factor. Off on a laptop, so that the first run's link is enough.
REQUIRE_MFA = env.bool("REQUIRE_MFA", default=PRODUCTION)
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=3600)
# How many proxies of ours stand before the portal: so many hops of X-Forwarded-For are believed.
TRUSTED_PROXIES = env.int(
    "TRUSTED_PROXIES", default=1 if PRODUCTION and env.bool("BEHIND_TLS_PROXY", default=True) else 0
)
# Guessing is stopped for one name from one address, so that nobody locks somebody else out. allauth's own limit
# by name would do just that, so only its limit by address stands.
ACCOUNT_RATE_LIMITS = {"login_failed": "60/m/ip"}
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = env.int("SIGNIN_FAILURES", default=8)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_USERNAME_CALLABLE = "apps.access.addresses.typed_name"
AXES_CLIENT_IP_CALLABLE = "apps.access.addresses.client_ip"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "password", "login"]
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# The company's OpenID Connect provider. Without a server there is none, and nothing of it is shown.
OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
# Where its sign-in page leads a browser to, when that is not where its server is.
OIDC_ORIGINS = env.list("OIDC_ORIGINS", default=[])
SOCIALACCOUNT_ADAPTER = "apps.access.sso.SsoAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = env.bool("OIDC_LINK_BY_EMAIL", default=False)
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "company",
                "name": OIDC_NAME,
                "client_id": env.str("OIDC_CLIENT_ID", default=""),
                "secret": env.str("OIDC_CLIENT_SECRET", default=""),
                "settings": {
                    "server_url": OIDC_SERVER_URL,
                    "scope": env.list("OIDC_SCOPES", default=["openid", "profile", "email"]),
                },
            }
        ]
        if OIDC_SERVER_URL
        else [],
    }
}

# Access for a while: the longest that can be asked for.
ACCESS_MAX_HOURS = env.int("ACCESS_MAX_HOURS", default=72)
# Days for which whoever made an account, or let it in, is no second person beside it. 0: the rule is off.
TWO_PERSON_DAYS = env.int("TWO_PERSON_DAYS", default=7)
# Calls of the API and of SCIM that one token makes in a minute, in each web process.
API_CALLS_PER_MINUTE = env.int("API_CALLS_PER_MINUTE", default=1200)
# Who is told when somebody breaks glass.
SECURITY_EMAIL = env.str("SECURITY_EMAIL", default="")
# The address under which people reach the portal, for links in mails.
PUBLIC_URL = env.str("DAYTWO_URL", default="http://localhost:8000")

# --- What was done -----------------------------------------------------------------------------
AUDITLOG_LOGENTRY_MODEL = "audit.AuditEntry"
AUDITLOG_CID_HEADER = None
AUDITLOG_INCLUDE_ALL_MODELS = False
AUDITLOG_USE_BASE_MANAGER = True
# Signs the seals: 32 bytes in base64 (`manage.py audit keygen`). In development one is made under .data.
AUDIT_SIGNING_KEY = env.str("AUDIT_SIGNING_KEY", default=kept("audit_signing_key", ""))
# Public keys of retired signing keys, so that what they sealed still verifies.
AUDIT_TRUSTED_KEYS = env.list("AUDIT_TRUSTED_KEYS", default=[])
AUDIT_SEAL_SECONDS = env.float("AUDIT_SEAL_SECONDS", default=5.0)
# Days for which no entry is let go (`manage.py audit retire`).
AUDIT_RETENTION_DAYS = env.int("AUDIT_RETENTION_DAYS", default=400)
AUDIT_VERIFY_HOURS = env.float("AUDIT_VERIFY_HOURS", default=24.0)

# --- Language, time, numbers -------------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
SITE_NAME = "Daytwo"

# --- Files -------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# In development files are served from where they lie; a root that is not there would only be warned of.
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))) if PRODUCTION else None
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
MEDIA_ROOT = DAYTWO_DATA_DIR / "media"
DJANGO_TABLES2_TEMPLATE = "django_tables2/daytwo.html"

# --- The browser's side of security ------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "style-src": ["'self'"],
        "script-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        # A browser holds a form to this also where its answer leads on: to the provider's sign-in page.
        "form-action": ["'self'", *OIDC_ORIGINS, *([origin_of(OIDC_SERVER_URL)] if OIDC_SERVER_URL else [])],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_ENGINE = "apps.access.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", default=12 * 3600)
CSRF_COOKIE_SAMESITE = "Lax"
if PRODUCTION:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    if env.bool("BEHIND_TLS_PROXY", default=True):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000  # a bulk action carries one field for each row ticked
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        # Every sign-in is in the trail; here it would be four lines.
        "axes": {"level": "WARNING"},
        # It names addresses with their secrets in what it logs; what came of a page is kept as a Delivery.
        "apprise": {"level": "CRITICAL", "propagate": False},
        "httpcore": {"level": "WARNING"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
TEST_RUNNER = "django.test.runner.DiscoverRunner"
