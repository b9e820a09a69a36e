"""The web process's entry: granian or gunicorn serve `application`."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

# Pages' slowest twentieth were garbage collections over the objects of start-up, which never die.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
