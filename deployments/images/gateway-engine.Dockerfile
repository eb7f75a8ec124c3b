# syntax=docker/dockerfile:1.17
# A gateway beside an engine on one GPU machine, with the worker that has the engine speak. Any image that serves
# POST /v1/audio/speech will do as ENGINE_IMAGE; CMD starts what is in it.
#   docker build -f deployments/images/gateway-engine.Dockerfile --build-arg VERSION=$(git describe --tags --always) -t voicemill/gateway-engine .
# It needs a GPU, a volume at /models for the weights, voices at /etc/voicemill (pools.json names them), and NATS, Postgres
# and a bucket elsewhere. As user 65532; settings are variables (docs/configuration.md).
# To pin the bases by digest: docker buildx imagetools inspect IMAGE, and --build-arg …_IMAGE=IMAGE@sha256:….
ARG GO_IMAGE=golang:1.26.8-bookworm
ARG ENGINE_IMAGE=vllm/vllm-omni:v0.28.0

# The same in every image: buildkit runs it once.
FROM ${GO_IMAGE} AS build
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build VERSION=${VERSION}

FROM ${ENGINE_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="voicemill gateway-engine" \
      org.opencontainers.image.description="Front door of voicemill beside a CosyVoice3 engine" \
      org.opencontainers.image.source="https://github.com/voicemill/voicemill" \
      org.opencontainers.image.documentation="https://github.com/voicemill/voicemill/blob/main/docs/deploy.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN install -d -o 65532 -g 65532 /models /etc/voicemill
COPY --from=build /src/bin/gateway /src/bin/worker /usr/local/bin/
COPY --chmod=0755 deployments/images/beside-engine /usr/local/bin/
COPY deployments/images/pools.json /etc/voicemill/
# Two services share what begins with VOICEMILL_, so what only one of them takes has a name of its own here.
ENV GATEWAY_LISTEN=0.0.0.0:7860 GATEWAY_ADMIN=0.0.0.0:7861 WORKER_ADMIN=0.0.0.0:7863 POOLS_FILE=/etc/voicemill/pools.json \
    HF_HOME=/models HOME=/tmp
USER 65532:65532
VOLUME /models
EXPOSE 7860 7861 7863
# bash speaks TCP by itself; there is neither curl nor wget.
HEALTHCHECK --interval=5s --timeout=5s --start-period=15m --retries=6 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7861 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/beside-engine"]
CMD ["vllm", "serve", "FunAudioLLM/Fun-CosyVoice3-0.5B-2512", "--omni", "--host", "127.0.0.1", "--port", "8091", "--trust-remote-code"]
