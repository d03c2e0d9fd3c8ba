#!/bin/sh
# Runs benchmarks/quality/peers.py, or $PEERS_SCRIPT, whose arguments it takes, in an environment of
# its own (.venv-peers).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${PEERS_VENV:-$root/.venv-peers}
pins=$root/benchmarks/quality/peers.txt
if ! cmp -s "$pins" "$venv/peers.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    # all that is needed is listed: RecTools asks for an older numpy than it runs with, and without
    # --no-deps its wishes would win
    "$venv/bin/pip" install --quiet --no-deps -r "$pins"
    cp "$pins" "$venv/peers.txt"
fi
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    PYTHONPATH="$root:$root/benchmarks/quality${PYTHONPATH:+:$PYTHONPATH}" \
    exec "$venv/bin/python" "$root/${PEERS_SCRIPT:-benchmarks/quality/peers.py}" "$@"
