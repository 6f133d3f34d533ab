# The image of the operator. Built by docker (with BuildKit), buildah and podman alike; see
# docs/installation.md.
#
# The base is an argument, so that another Python 3.11 to 3.13 on glibc can stand in: a mirror of the
# same image, or a Debian 12 tree with python3, python3-venv and ca-certificates. All stages use the
# same base, because a virtual environment points at the Python that made it.
#
# Behind a mirror or a proxy of your own, give what is needed as files, never as arguments, which the
# image's history would keep:  docker build --secret id=pip.conf,src=… .  Known ids, all optional:
#   pip.conf   another index, for pip, which installs uv
#   uv.toml    another index, for uv, which installs the rest
#   ca.crt     the certificate authorities to trust for both
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS dependencies
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
# The installer, in an environment of its own that stays in this stage.
COPY requirements/bootstrap.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    if [ -s /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi \
    && python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements/bootstrap.txt
# Everything that runs but our code, by hash. Compiled without time stamps: the same sources give the
# same bytes, and nothing has to be compiled or compared at the start, where the file system is
# read-only. The last line lets Python find our code, wherever its own folder is.
COPY requirements/runtime.txt requirements/
RUN --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca.crt \
    if [ -s /run/secrets/ca.crt ]; then export SSL_CERT_FILE=/run/secrets/ca.crt; fi \
    && python3 -m venv --without-pip /opt/syncret \
    && /build/tools/bin/uv pip sync --quiet --python /opt/syncret/bin/python --require-hashes \
       --only-binary :all: requirements/runtime.txt \
    && rm -f /opt/syncret/.lock \
    && site=$(/opt/syncret/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && /opt/syncret/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site" \
    && echo /opt/syncret/app >"$site/syncret.pth"

FROM dependencies AS code
COPY operator/syncret /opt/syncret/app/syncret
RUN /opt/syncret/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/syncret/app

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="Syncret" \
      org.opencontainers.image.description="Projects secrets from external stores into Kubernetes Secrets, follows their rotation, and rolls what uses them." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Two layers: a change of the code, the small one, leaves the large one as it is in every registry and
# on every node.
COPY --from=dependencies /opt/syncret /opt/syncret
COPY --from=code /opt/syncret/app /opt/syncret/app
# PYTHONSAFEPATH: `python -m` must not look for modules in the working directory.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 PYTHONFAULTHANDLER=1
WORKDIR /
# A number, so that runAsNonRoot can be checked without reading /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/syncret/bin/python", "-m", "syncret"]
CMD ["run"]
