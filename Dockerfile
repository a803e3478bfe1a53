# The image of every part of Skep: replica, operator and command line are one program.
#   docker build -t localhost/skep:dev .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/skep:0.2.0 .
# Run it with the root file system read-only and all capabilities dropped; only /data (and a memory-backed /tmp) is written.
ARG NODE=node:26-slim

# Packages hold programs for each platform: npm picks them on the platform that is built for. None has a script to run.
FROM ${NODE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
COPY cli/package.json cli/
COPY wire/package.json wire/
COPY raft/package.json raft/
COPY tracker/package.json tracker/
COPY operator/package.json operator/
COPY load/package.json load/
RUN npm ci --omit=dev --omit=peer --ignore-scripts --no-audit --no-fund \
      -w cli -w wire -w raft -w tracker -w operator -w load \
 && rm -rf node_modules/node-* node_modules/typescript node_modules/@typescript \
      node_modules/*/prebuilds/android-* node_modules/*/prebuilds/darwin-* node_modules/*/prebuilds/win32-*

FROM ${NODE}
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="skep" \
      org.opencontainers.image.description="A BitTorrent tracker cluster that survives losing a machine" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
ENV NODE_ENV=production SKEP_DATA_DIR=/data
RUN mkdir /data && chown 10001:10001 /data
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY LICENSE package.json skep.ts ./
COPY cli cli
COPY wire wire
COPY raft raft
COPY tracker tracker
COPY operator operator
COPY load load
# Numbers, so that Kubernetes can check runAsNonRoot.
USER 10001:10001
VOLUME /data
EXPOSE 6969/udp 8167/tcp 8168/tcp 8169/tcp 5560/tcp
# Kubernetes asks /livez and /readyz itself; `docker run --health-cmd` adds a check where one is wanted.
HEALTHCHECK NONE
# exec form: signals reach Node, which stops cleanly on SIGTERM.
ENTRYPOINT ["node", "skep.ts"]
