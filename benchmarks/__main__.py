"""Run one benchmark, print its JSON object as the last line, and write results/<name>.json.

--again: also measure what an earlier run has measured, of a benchmark that goes on where it was ended.

Example: python -m benchmarks overhead
"""

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
    options = arguments[1:]
    if options not in ([], ["--again"]) or not arguments or arguments[0] not in names():
        given = f"{arguments[0]!r} is no benchmark; " if arguments and arguments[0] else ""
        console.print(f"{given}name one of: {', '.join(names())}  (make bench NAME=overhead)")
        return 2
    name = arguments[0]
    measure = importlib.import_module(f"benchmarks.{name}").measure
    goes_on = "again" in inspect.signature(measure).parameters
    chosen = {"again": bool(options)} if goes_on else {}
    with console.status(f"[bold]{name}[/bold]") as status:

        def progress(line: str) -> None:
            console.print(f"  {line}")
            status.update(f"[bold]{name}[/bold] {line}")

        result = write_result(name, measure(progress, **chosen))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
