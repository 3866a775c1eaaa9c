# The same compiler as rust-toolchain.toml (which .dockerignore leaves out: rustup would fetch its components once more in here).
FROM rust:1.95.0-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive the layer, so that a change in src/ does not compile every dependency again;
# what is kept must be copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin cambist \
 && cp target/release/cambist /usr/local/bin/cambist

FROM debian:bookworm-slim
# No package manager runs here: the binary needs glibc, libgcc and a CA bundle, and nothing else.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/cambist /usr/local/bin/cambist
# A number, as Kubernetes cannot prove of a name that it isn't root. Nothing is written: runs with a read-only root.
USER 65532:65532
# One setting for `run` and for the health check; mount the file here or point it elsewhere.
ENV CAMBIST_CONFIG=/etc/cambist/cambist.yaml
EXPOSE 8080 9464
# Asks the metrics listener of that config. Kubernetes ignores this and has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/cambist", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/cambist"]
CMD ["run"]
