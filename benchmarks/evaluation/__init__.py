"""The page of all measured figures, docs/evaluation.md, and its picture, made from results/*.json; and the page of
supported operators.

    python -m benchmarks.evaluation

The page holds nothing but what the result files say; a section whose file is missing is left out.
"""

import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import RESULTS
from benchmarks.evaluation import operators
from benchmarks.evaluation.attack import attack
from benchmarks.evaluation.cells import PAGE, PICTURE, Result
from benchmarks.evaluation.inference import (
    bounds,
    coverage,
    demo,
    gas,
    hashing,
    honest,
    overhead,
    soundness,
    sums,
    tightness,
    variants,
)
from benchmarks.evaluation.training import demo_training, theta, training

INTRODUCTION = """# Evaluation

Made by `python -m benchmarks.evaluation` from the files in `results/`; nothing here is typed by hand. Each heading
is followed by the command, the machine and the date of the measurement; a dash marks a figure that the file does not
contain.
"""


@dataclass(frozen=True)
class Section:
    """Part of the page: its heading, the command behind results/<name>.json, and the paragraphs of it."""

    name: str
    heading: str
    command: str
    paragraphs: Callable[[Result], list[str]]


SECTIONS = (
    Section("coverage", "Coverage", "make bench NAME=coverage", coverage),
    Section("soundness", "Soundness of the bounds", "make bench NAME=soundness", soundness),
    Section("variants", "Soundness on every kernel variant", "make bench NAME=variants", variants),
    Section("bounds", "Cost of the bounds", "make bench NAME=bounds", bounds),
    Section(
        "tightness", "Tightness of the bounds, and false positives", "make bench NAME=tightness", tightness
    ),
    Section("theta", "The calibrated constant", "make bench NAME=theta", theta),
    Section("attack", "Attacks within the tolerances", "make bench NAME=attack", attack),
    Section("honest", "Honest provers on other kernels", "make bench NAME=honest", honest),
    Section("overhead", "Overhead of the honest path", "make bench NAME=overhead", overhead),
    Section("hashing", "Committing tensors", "make bench NAME=hashing", hashing),
    Section("gas", "Gas", "make bench NAME=gas", gas),
    Section("sums", "Long sums", "make bench NAME=sums", sums),
    Section("demo", "The main job", "make demo", demo),
    Section("training", "Training", "make bench NAME=training", training),
    Section("demo-training", "Trainers who cheat", "make demo-training", demo_training),
)


def origin(section: Section, result: Result) -> str:
    """By what, on what and when the figures were measured."""
    machine, threads = result["machine"], result.get("threads")
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    if threads is not None:
        where += f", {threads} thread{'s' if threads > 1 else ''}"
    return f"`{section.command}` · {where} · torch {result['versions']['torch']} · {result['date']}"


def wrapped(paragraph: str) -> str:
    """Prose in lines of the usual length; tables and pictures as they are."""
    prose = not paragraph.startswith(("|", "!"))
    return textwrap.fill(paragraph, 110, break_on_hyphens=False) if prose else paragraph


def page(results: Mapping[str, Result]) -> str:
    """The Markdown page of these results, by name; those that are not there have no section."""
    blocks = [INTRODUCTION.rstrip()]
    for section in SECTIONS:
        if section.name in results:
            result = results[section.name]
            blocks += [f"## {section.heading}", origin(section, result)]
            blocks += map(wrapped, section.paragraphs(result))
    return "\n\n".join(blocks) + "\n"


def read_results(folder: Path = RESULTS) -> dict[str, Result]:
    """The results there are of SECTIONS."""
    paths = {section.name: folder / f"{section.name}.json" for section in SECTIONS}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}


def main() -> None:
    """Write the pages, and the picture where there is something to draw."""
    results = read_results()
    operators.PAGE.write_text(operators.page(), "utf-8")
    PAGE.write_text(page(results), "utf-8")
    if "tightness" in results:
        from benchmarks.tightness import draw  # whose networks take a while to load

        draw(results["tightness"], PICTURE)
