#!/usr/bin/env bash
# Set up everything inside the checkout: npm packages, a virtual environment, compiled contracts.
# Installs nothing, and compiles little, when its inputs have not changed since it last succeeded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/env.sh

TORCH=torch==2.13.0

fingerprint() { cat requirements.lock package-lock.json pyproject.toml tools/setup.sh | sha256sum | cut -d' ' -f1; }

say() { printf '\033[1m%s\033[0m\n' "$*"; }

if [ ! -x .venv/bin/tao ] || [ "$(cat .setup-done 2>/dev/null || true)" != "$(fingerprint)" ]; then
  for command in python3 node npm; do
    command -v "$command" >/dev/null || { echo "setup: $command is not installed; Python 3.11+ and Node 20+ are needed" >&2; exit 1; }
  done
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "setup: $(python3 --version) is too old; Python 3.11+ is needed" >&2; exit 1; }
  say "npm packages (compiler, anvil, forge, OpenZeppelin)"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  say "virtual environment (.venv)"
  [ -d .venv ] || python3 -m venv .venv
  .venv/bin/python -m pip install -qq --no-deps --require-hashes -r requirements.lock
  # Apart from the lock, so that each machine gets the build of torch meant for it.
  .venv/bin/python -m pip install -qq "$TORCH"
  .venv/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
  fingerprint > .setup-done
fi

say "contracts"
# Ape compiles what changed but not what imports it, so any change starts anew.
sources=$(contract_sources)
[ "$(cat .build/sources 2>/dev/null || true)" = "$sources" ] || rm -rf .build
ape compile -v WARNING
echo "$sources" > .build/sources
# Forge's tests deploy what Ape built.
rm -rf .forge/creation && mkdir -p .forge/creation
.venv/bin/python - <<'END'
import json, pathlib
for name, built in json.loads(pathlib.Path(".build/__local__.json").read_text())["contractTypes"].items():
    if code := (built.get("deploymentBytecode") or {}).get("bytecode"):
        pathlib.Path(".forge/creation", name).write_text(code)
END
