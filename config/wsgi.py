"""What gunicorn serves. It marks the process as the web's before the settings are read: pool and statement timeout."""

from __future__ import annotations

import os

os.environ.setdefault("PROCESS_ROLE", "web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.wsgi import get_wsgi_application  # after the role

application = get_wsgi_application()
