# The server's image. For NVIDIA GPUs:  docker build -t abruzzi .
# For CPUs:                             docker build -t abruzzi:cpu --build-arg DEVICE=cpu .
# docs/deployment.md goes on from there.
# Debian's versions are not pinned, for they go when the next comes; the last stage's base is a stage, not an image.
# hadolint global ignore=DL3008,DL3006

# Any Debian with Python 3.11 or newer, its venv module and its headers.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
# cuda or cpu: which build of torch, and what lies beside it.
ARG DEVICE=cuda


FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/abruzzi/bin:$PATH


# The compiler is for wheels that are built here. This stage is not in the image.
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install --yes --no-install-recommends g++
# pip works from a place of its own, so that the environment that is copied has none.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/abruzzi
WORKDIR /source


FROM build AS requirements
COPY pyproject.toml ./
RUN python3 -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], sep='\n')" > requirements.txt


# Everything but the project itself: most of the image, and the same until the dependencies change.
FROM build AS dependencies
ARG DEVICE
# A page of links or a folder. The ordinary index has torch for GPUs.
ARG CPU_TORCH_LINKS=https://download.pytorch.org/whl/cpu/torch/
COPY --from=requirements /source/requirements.txt ./
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$DEVICE" = cpu ]; then set -- --find-links "$CPU_TORCH_LINKS"; fi \
    && /opt/pip/bin/pip --python /opt/abruzzi/bin/python3 install --requirement requirements.txt \
        --constraint constraints.txt "$@"
RUN python3 -c "import sys, torch; \
    built_for = 'cuda' if torch.version.cuda else 'cpu'; \
    sys.exit(0 if built_for == '$DEVICE' else f'DEVICE is $DEVICE, but torch {torch.__version__} is for {built_for}')"


FROM dependencies AS project
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/pip/bin/pip --python /opt/abruzzi/bin/python3 install --no-deps --prefix /project .


FROM base AS runtime-cpu
RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1


# Triton compiles a few lines of C for each kernel when it first runs: it needs gcc, and Python's headers.
FROM base AS runtime-cuda
# Without a GPU it refuses to start, instead of running slowly on the CPU.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ABRUZZI_DEVICE=cuda
RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libgomp1


FROM runtime-${DEVICE}
LABEL org.opencontainers.image.title="Abruzzi" \
      org.opencontainers.image.description="Serves Mixture-of-Experts models of Kimi K2's class"
# Everything that is to outlast the container lies in its home, /data: the hub's cache, what the server stores, compiled
# kernels. Group 0 may write there, so that the image also runs as a user that it does not know (`--user 1234`).
RUN useradd --uid 10001 --gid 0 --no-log-init --no-create-home --home-dir /data abruzzi \
    && install --directory --owner 10001 --group 0 --mode 0770 /data
COPY --from=dependencies /opt/abruzzi /opt/abruzzi
COPY --from=project /project /opt/abruzzi
ENV HOME=/data \
    ABRUZZI_HOST=0.0.0.0 \
    ABRUZZI_PORT=8000
USER 10001:0
WORKDIR /data
EXPOSE 8000
# Loading a large model takes as long as its disk takes to read it: no failure counts in the first hour.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1h --retries=3 CMD ["python3", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ['ABRUZZI_PORT']), timeout=4); \
server.request('GET', '/ready'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["abruzzi"]
CMD ["serve"]
