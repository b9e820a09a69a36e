"""The worker process's entry: `dramatiq portal.worker`. Boots Django, then imports every app's actors."""

import os

import django
from django.utils.module_loading import autodiscover_modules

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()
autodiscover_modules("actors")
