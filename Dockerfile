# Croupier's image: `docker build --tag croupier:local .`
#
# Base images are pinned by version. To pin them by digest too:
#   docker build --build-arg PYTHON_IMAGE=python@sha256:... --build-arg NODE_IMAGE=node@sha256:... .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG NODE_IMAGE=node:22.20.0-bookworm-slim

# The console's scripts and styles, where the console has any.
FROM ${NODE_IMAGE} AS frontend
WORKDIR /srv/croupier
COPY app app
RUN mkdir -p app/console/static/build \
    && if [ -f app/console/frontend/package.json ]; then npm --prefix app/console/frontend ci && npm --prefix app/console/frontend run build; fi

# Packages by their hashes, then the project itself, which finds its migrations and data beside its code.
FROM ${PYTHON_IMAGE} AS build
WORKDIR /srv/croupier
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/croupier \
    && /opt/croupier/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
        --requirement requirements.lock --requirement requirements-build.lock
COPY . .
COPY --from=frontend /srv/croupier/app/console/static/build app/console/static/build
# The root file system is read-only at run time, so everything is compiled now; and nothing is installed later.
RUN /opt/croupier/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable . \
    && /opt/croupier/bin/pip uninstall --yes --quiet setuptools \
    && /opt/croupier/bin/python -m pip uninstall --yes --quiet pip \
    && /opt/croupier/bin/python -m compileall -q -j 0 /opt/croupier/lib app bandits monitoring migrations

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/croupier --shell /usr/sbin/nologin croupier \
    && install --directory --owner croupier --mode 0700 /var/lib/croupier
COPY --from=build /opt/croupier /opt/croupier
COPY --from=build /srv/croupier /srv/croupier
ENV PATH=/opt/croupier/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CROUPIER_DATA_DIR=/var/lib/croupier \
    CROUPIER_HOST=0.0.0.0
WORKDIR /var/lib/croupier
# A number, so that Kubernetes can see that it is not root.
USER 10001
# The spool: decisions that the database does not have yet. And the files behind /metrics.
VOLUME /var/lib/croupier
EXPOSE 8000
# Of the web; the learner and the monitor listen to nobody.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ.get('CROUPIER_PORT', 8000)}/livez\", timeout=2)"]
ENTRYPOINT ["croupier"]
CMD ["web"]
