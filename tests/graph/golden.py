"""The graph roots that are committed in golden.json.

`python tests/graph/golden.py --write` commits those of the installed torch; without `--write` they are
printed. `--strict` traces with the other front end of torch.export; names restrict the models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from graph.models import CASES, build  # noqa: E402
from tao.graph import export  # noqa: E402

PATH = Path(__file__).with_name("golden.json")


def roots(names: list[str], strict: bool) -> dict[str, str]:
    """The graph root of each model, in hex."""
    result = {}
    for name in names:
        case = build(name)
        result[name] = export(case.module, case.args, case.kwargs, strict=strict)[0].root.hex()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    text = json.dumps(roots(options.names or list(CASES), options.strict), indent=2)
    if options.write:
        PATH.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
