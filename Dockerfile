# syntax=docker/dockerfile:1
#
# The operator's image, which is also the image of `werkbank fetch`.
#
# Nothing in this repository builds it: tests and the demo run the binaries as
# local processes, and no container engine is needed for them. Build it with
#
#     docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/werkbank:VERSION .
#
# Tags name exact versions; a release build pins digests on top:
# `--build-arg RUST_IMAGE=rust:…@sha256:… --build-arg BASE_IMAGE=…@sha256:…`.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# `ring` compiles some C and assembly.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package werkbank --bin werkbank \
    && install -D target/release/werkbank /out/werkbank

FROM ${BASE_IMAGE}
COPY --from=build /out/werkbank /usr/local/bin/werkbank
COPY LICENSE /LICENSE
# By number: the kubelet can check `runAsNonRoot` only on a number.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/werkbank"]
