# Source this to use the project's own tools: . tools/env.sh
TAO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
export TAO_ROOT
export APE_DATA_FOLDER="${APE_DATA_FOLDER:-$TAO_ROOT/.ape}"
# Ape downloads a native solc where it can; the npm build serves everywhere else.
export SOLCX_BINARY_PATH="${SOLCX_BINARY_PATH:-$TAO_ROOT/tools/solcx}"
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
# What the contracts are compiled from, as one hash.
contract_sources() { "$TAO_ROOT/.venv/bin/python" -c 'from tao.chain.build import sources; print(sources())'; }
export PATH="$TAO_ROOT/.venv/bin:$TAO_ROOT/tools/bin:$TAO_ROOT/node_modules/.bin:$PATH"
