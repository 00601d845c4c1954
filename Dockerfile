# Serves a detector on port 7860, with nothing but /tmp to write to. In a checkout:
#
#     docker build --build-arg TORCH_INDEX=ADDRESS -t faceproof .    # see below, for a small image
#     docker run --read-only --tmpfs /tmp -v "$PWD/detector:/detector:ro" -p 127.0.0.1:7860:7860 faceproof
#
# What comes after the image's name is added to `faceproof serve`. More in docs/serving.md.

# Any image with Python 3.11 or newer as `python`.
ARG BASE=python:3.12-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
# Where torch and torchvision come from: an address for pip's --index-url, as the page
# https://pytorch.org/get-started/locally/ names one for CPUs and one for each version of CUDA. Without
# one, pip's own builds for Linux hold CUDA, 5 GB.
ARG TORCH_INDEX=
# Without heif no HEIC is read, without video no videos, without faces no faces are found, without
# explain no maps are drawn. faces brings ONNX Runtime, for --backend onnx.
ARG EXTRAS=serve,video,heif,faces,explain
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# A layer of its own, which a change to faceproof does not build again.
RUN python -m venv /opt/faceproof \
    && /opt/faceproof/bin/pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
        "torch>=2.6" "torchvision>=0.21"
WORKDIR /checkout
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY experiments experiments
COPY src src
RUN /opt/faceproof/bin/pip install ".[${EXTRAS}]"

# hadolint ignore=DL3006
FROM ${BASE}
# A number that no user of the host is likely to have. With a name, since libraries ask for one.
RUN groupadd --gid 10001 faceproof \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp faceproof
COPY --from=build /opt/faceproof /opt/faceproof
# Whatever a library stores goes to /tmp.
ENV PATH=/opt/faceproof/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    FACEPROOF_CACHE=/tmp/cache/faceproof \
    MPLCONFIGDIR=/tmp/cache/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 7860
STOPSIGNAL SIGTERM
# Python, since the image has no curl; http.client, since it asks no proxy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 7860, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["faceproof", "serve", "/detector", "--host", "0.0.0.0", "--port", "7860"]
