# syntax=docker/dockerfile:1
# One image for web, worker and scheduler; compose.yaml shows which command makes which.
# Stage 1 has what is needed to install, stage 2 only what is needed to run.
FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /venv
COPY requirements/base.txt requirements/base.txt
RUN /venv/bin/pip install --require-hashes -r requirements/base.txt
COPY . .
# Static files are collected with values that stand for nothing; none of them is kept in the image.
RUN DAYTWO_ENV=production SECRET_KEY=build-only-0123456789-0123456789-0123456789-0123456789 \
    ALLOWED_HOSTS=localhost DATABASE_URL=postgresql://none@localhost/none \
    /venv/bin/python manage.py collectstatic --no-input

FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 daytwo \
 && useradd --no-log-init --uid 10001 --gid daytwo --home-dir /data --create-home daytwo
COPY --from=build /venv /venv
COPY --from=build --chown=root:root /app /app

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=portal.settings DAYTWO_ENV=production DAYTWO_DATA_DIR=/data
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-m", "portal.stack.healthcheck"]
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--blocking-threads", "8", "--no-ws", "--respawn-failed-workers", "portal.wsgi:application"]
