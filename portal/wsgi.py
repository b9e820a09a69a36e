"""The web process's entry: granian or gunicorn serve `application`."""

import gc
import os

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

# What stops `manage.py` stops the web too: a portal that is not fit for production does not come up.
if settings.PRODUCTION and (
    errors := [m for m in run_checks(tags=[Tags.security, Tags.database]) if m.is_serious()]
):
    raise ImproperlyConfigured("\n".join(str(message) for message in errors))

# Pages' slowest twentieth were garbage collections over the objects of start-up, which never die.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
