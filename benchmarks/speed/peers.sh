#!/bin/sh
# Runs benchmarks/speed/peers.py, whose arguments it takes, in the environment of the accuracy peers.
PEERS_SCRIPT=benchmarks/speed/peers.py exec sh "$(dirname "$0")/../quality/peers.sh" "$@"
