# syntax=docker/dockerfile:1.17
# Everything in one process (`voicemill up`), and the client: docker run --rm voicemill/voicemill submit …
#   docker build -f deployments/images/voicemill.Dockerfile --build-arg VERSION=$(git describe --tags --always) -t voicemill/voicemill .
# Neural voices: docker run --rm -v voicemill:/data voicemill/voicemill models install joe (docs/engines.md).
# It runs with --read-only --tmpfs /tmp --cap-drop ALL, as user 65532 and keeps all state in /data; its settings are variables (docs/configuration.md).
# To pin the bases by digest: docker buildx imagetools inspect IMAGE, and --build-arg …_IMAGE=IMAGE@sha256:….
ARG GO_IMAGE=golang:1.26.8-bookworm
ARG BASE_IMAGE=debian:12.12-slim

# The same in every image: buildkit runs it once.
FROM ${GO_IMAGE} AS build
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build VERSION=${VERSION}

FROM ${BASE_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="voicemill" \
      org.opencontainers.image.description="Bulk speech synthesis as a service, all in one, and its command line" \
      org.opencontainers.image.source="https://github.com/voicemill/voicemill" \
      org.opencontainers.image.documentation="https://github.com/voicemill/voicemill/blob/main/docs/deploy.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd --gid 65532 voicemill && useradd --uid 65532 --gid voicemill --no-create-home --home-dir /nonexistent voicemill \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates 'espeak-ng=1.51*' libstdc++6 'ffmpeg=7:5.1.*' 'postgresql-15=15.*' \
 && install -d -o 65532 -g 65532 -m 0711 /data \
 && rm -rf /var/lib/postgresql /etc/postgresql /var/lib/apt/lists/*
COPY --from=build /src/bin/voicemill /src/bin/voicemill-espeak /src/bin/voicemill-neural /usr/local/bin/
ENV VOICEMILL_DATA=/data VOICEMILL_MODELS_DIR=/data/models VOICEMILL_LISTEN=0.0.0.0:7860 VOICEMILL_ADMIN=0.0.0.0:7861 VOICEMILL_S3_LISTEN=0.0.0.0:7862 \
    VOICEMILL_LOG_LEVEL=info VOICEMILL_LOG_FORMAT=json
VOLUME /data
USER 65532:65532
EXPOSE 7860 7861 7862
# bash speaks TCP by itself; there is neither curl nor wget.
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7861 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/voicemill"]
CMD ["up"]
