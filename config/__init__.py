"""The product put together: environment, settings, routes, Celery. Imports every app; no app imports it.

The Celery app is loaded with the package, so that `shared_task`s of the web process know their broker.
"""

from config.celery import app as celery_app

__all__ = ("celery_app",)
