#!/bin/sh
# Builds raft.wasm.br from this folder. Same sources and same Go, same bytes: core.test.ts compares.
# Usage: build.sh [output.wasm]  (default: builds ../raft.wasm and compresses it to ../raft.wasm.br)
set -eu
cd "$(dirname "$0")"
out="${1:-../raft.wasm}"
# The toolchain is the one go.mod names, never a newer one that happens to be installed.
GOTOOLCHAIN="go$(sed -n 's/^go //p' go.mod)" GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=readonly \
  go build -buildmode=c-shared -buildvcs=false -trimpath -ldflags="-s -w -buildid=" -o "$out" .
if [ $# -eq 0 ]; then
  node -e 'const fs = require("node:fs"), z = require("node:zlib"), b = fs.readFileSync("../raft.wasm")
    const params = { [z.constants.BROTLI_PARAM_QUALITY]: 11, [z.constants.BROTLI_PARAM_LGWIN]: 24, [z.constants.BROTLI_PARAM_SIZE_HINT]: b.length }
    fs.writeFileSync("../raft.wasm.br", z.brotliCompressSync(b, { params }))'
  rm ../raft.wasm
  ls -l ../raft.wasm.br
fi
