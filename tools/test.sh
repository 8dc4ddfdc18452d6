#!/usr/bin/env bash
# All tests: the Solidity libraries and contracts in forge, everything else in pytest under Ape, side by side.
# Arguments go to the latter, which then runs alone: tools/test.sh tests/graph -k views
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/env.sh

# Files in their order: by default those of few tests, which may be long ones, come last and one core waits.
# Processes share the cores: a thread that waits for another must leave its core to them.
pytest() {
  OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0 \
    ape test "${@:-tests}" -n 2 --dist loadfile --no-loadscope-reorder --network ethereum:local:foundry
}

if [ $# -gt 0 ]; then
  pytest "$@"
  exit
fi
[ "$(cat .build/sources 2> /dev/null || true)" = "$(contract_sources)" ] \
  || { echo "test: the contracts have changed since they were compiled; run make setup" >&2; exit 1; }
# The quick profile draws the same cases every time; the deep one draws new ones.
seed=${FOUNDRY_PROFILE:+$RANDOM}
mkdir -p .forge
forge test --summary --fuzz-seed "${seed:-1}" > .forge/report.txt 2>&1 &
forge=$!
trap 'kill "$forge" 2> /dev/null || true' EXIT
failed=0
pytest || failed=1
echo "waiting for forge"
wait $forge || failed=1
cat .forge/report.txt
exit $failed
