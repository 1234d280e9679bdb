"""Django's settings, a file per topic. Everything that differs between machines comes from `config.env`."""

from config.settings.admin import *  # noqa: F403
from config.settings.api import *  # noqa: F403
from config.settings.apps import *  # noqa: F403
from config.settings.cache import *  # noqa: F403
from config.settings.celery import *  # noqa: F403
from config.settings.database import *  # noqa: F403
from config.settings.documents import *  # noqa: F403
from config.settings.keys import *  # noqa: F403
from config.settings.logs import *  # noqa: F403
from config.settings.paths import *  # noqa: F403
from config.settings.providers import *  # noqa: F403
from config.settings.security import *  # noqa: F403
from config.settings.server import *  # noqa: F403
