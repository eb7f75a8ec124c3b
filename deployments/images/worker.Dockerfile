# syntax=docker/dockerfile:1.17
# The worker, with espeak-ng. It serves engines elsewhere, too: VOICEMILL_POOLS_FILE (docs/engines.md).
#   docker build -f deployments/images/worker.Dockerfile --build-arg VERSION=$(git describe --tags --always) -t voicemill/worker .
# It runs with --read-only --tmpfs /tmp --cap-drop ALL, as user 65532; its settings are variables (docs/configuration.md).
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
LABEL org.opencontainers.image.title="voicemill worker" \
      org.opencontainers.image.description="Has engines speak segments for voicemill, joins chapters and ends jobs" \
      org.opencontainers.image.source="https://github.com/voicemill/voicemill" \
      org.opencontainers.image.documentation="https://github.com/voicemill/voicemill/blob/main/docs/deploy.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd --gid 65532 voicemill && useradd --uid 65532 --gid voicemill --no-create-home --home-dir /nonexistent voicemill \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates 'espeak-ng=1.51*' libstdc++6 'ffmpeg=7:5.1.*' \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/bin/worker /src/bin/voicemill-espeak /src/bin/voicemill-neural /usr/local/bin/
ENV VOICEMILL_ADMIN=0.0.0.0:7863 VOICEMILL_MODELS_DIR=/models
USER 65532:65532
EXPOSE 7863
# bash speaks TCP by itself; there is neither curl nor wget.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7863 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/worker"]
