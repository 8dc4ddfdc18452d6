"""Run one benchmark, print its JSON object as the last line, and write results/<name>.json.

Example: python -m benchmarks overhead
"""

import argparse
import importlib
import inspect
import json
import pkgutil
import sys

from rich.console import Console

import benchmarks
from benchmarks.environment import write_result

console = Console(stderr=True, highlight=False)


def names() -> list[str]:
    """The benchmarks there are: what defines `measure` in this package, found without importing it."""
    found = []
    for module in pkgutil.iter_modules(benchmarks.__path__):
        spec = module.module_finder.find_spec(module.name)
        if "\ndef measure(" in spec.loader.get_source(spec.name):
            found.append(module.name)
    return sorted(found)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument(
        "--cases", type=int, help="verdicts of a family, for a benchmark that asks the contracts"
    )
    parser.add_argument(
        "--again", action="store_true", default=None, help="measure anew what was measured before"
    )
    options = vars(parser.parse_args(arguments))
    name = options.pop("name")
    if name not in names():
        given = f"{name!r} is no benchmark; " if name else ""
        console.print(f"{given}name one of: {', '.join(names())}  (make bench NAME=overhead)")
        return 2
    measure = importlib.import_module(f"benchmarks.{name}").measure
    chosen = {option: value for option, value in options.items() if value is not None}
    for option in chosen:
        if option not in inspect.signature(measure).parameters:
            console.print(f"{name} has no option --{option}")
            return 2
    with console.status(f"[bold]{name}[/bold]") as status:

        def progress(line: str) -> None:
            console.print(f"  {line}")
            status.update(f"[bold]{name}[/bold] {line}")

        result = write_result(name, measure(progress, **chosen))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
