#!/usr/bin/env bash
# All tests: the Solidity libraries and contracts in forge, everything else in pytest under Ape.
# Arguments go to the latter: tools/test.sh tests/graph -k views
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/env.sh

# The quick profile draws the same cases every time; the deep one draws new ones.
SEED=${FOUNDRY_PROFILE:+$RANDOM}
[ $# -gt 0 ] || forge test --summary --fuzz-seed "${SEED:-1}"
ape test "${@:-tests}" -n 2 --dist loadfile --network ethereum:local:foundry
