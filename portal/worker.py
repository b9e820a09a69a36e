"""The worker process's entry: `dramatiq portal.worker`. Boots Django, then imports every app's actors."""

import os

import django
import dramatiq
from django.utils.module_loading import autodiscover_modules

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()
autodiscover_modules("actors")

# No actor here delays or retries (the rows decide what is due), and each queue that is listened to takes a thread, a
# connection and a look a second: with one for every delay, a worker of ten queues ran out of connections.
dramatiq.get_broker().delay_queues.clear()
