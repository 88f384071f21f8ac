# One image for every role. Built from the pinned versions of requirements/runtime.txt, whose hashes
# are checked; runs as nobody in particular, and writes to its app directory only.

# The version that the tests run on. From 3.11 on any will do: --build-arg PYTHON=3.13
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/hermod
WORKDIR /build
# The dependencies first: they change seldom, and their layer is kept.
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/hermod/bin/python -m pip install --only-binary :all: --require-hashes -r requirements/runtime.txt
COPY requirements/assets.txt requirements/assets.sh requirements/
RUN sh requirements/assets.sh /opt/hermod/bin/python
COPY LICENSE README.md pyproject.toml ./
COPY src src
RUN /opt/hermod/bin/python -m pip install --no-index --no-deps --no-build-isolation . \
 && /opt/hermod/bin/python -P -m hermod.prices.builtin --write \
 && /opt/hermod/bin/python -m pip uninstall --yes flit_core setuptools pip

FROM python:${PYTHON}-slim
RUN groupadd --system --gid 10001 hermod \
 && useradd --system --uid 10001 --gid hermod --no-create-home --home-dir /var/lib/hermod \
    --shell /usr/sbin/nologin hermod \
 && install --directory --owner hermod --group hermod --mode 0700 /var/lib/hermod
COPY --from=build /opt/hermod /opt/hermod
# Reachable from outside the container, so HERMOD_ADMIN_TOKEN has to be given to whoever serves the API.
ENV PATH=/opt/hermod/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HERMOD_APP_DIR=/var/lib/hermod \
    HERMOD_HOST=0.0.0.0 \
    HERMOD_PORT=8080
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/hermod
VOLUME /var/lib/hermod
EXPOSE 8080
# Drains: running jobs finish or are given back within 25 s. Give it 30 s or more before a SIGKILL.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=70s --retries=3 \
    CMD ["python", "-IS", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HERMOD_PORT']), timeout=4); c.request('GET', '/health/readiness'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["hermod"]
CMD ["serve"]
