"""Cells, columns and tables of the page of figures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.environment import RESULTS

Result = Mapping[str, Any]

DOCS = RESULTS.parent / "docs"
PAGE = DOCS / "evaluation.md"
PICTURE = DOCS / "tightness.png"


def text(value: Any) -> str:
    """Lists and the keys of counts separated by commas, truth as yes and no, and no column separators."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({count})" for key, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).replace("|", "\\|")


def count(value: float) -> str:
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Percent; shares near none and near all are written so that they do not look it."""
    near = 0 < value < 0.01 or 0.999 < value < 1
    return f"{100 * value:.3g} %" if near else f"{100 * value:.1f} %"


def figure(value: float) -> str:
    """Three significant digits."""
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 or value == 0 else f"{value:.2e}"


def ratio(value: float) -> str:
    return f"{value:.3f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.1f}"


@dataclass(frozen=True)
class Column:
    """A heading, the key of a record that stands below it, and how it is written."""

    heading: str
    key: str
    write: Callable[[Any], str] = figure


def table(columns: Sequence[Column], records: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table with a row for every record; numbers to the right."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(column: Column, record: Mapping[str, Any]) -> str:
        value = record.get(column.key)
        return "–" if value is None else column.write(value)

    rule = line("---" if column.write is text else "---:" for column in columns)
    rows = [line(cell(column, record) for column in columns) for record in records]
    return "\n".join([line(column.heading for column in columns), rule, *rows])


def named(records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of a mapping, each with its key as `name`."""
    return [{"name": name, **record} for name, record in records.items()]


def listing(result: Result, *columns: Column) -> str:
    """A table of one record, a figure in each row."""
    rows = [
        {"figure": column.heading, "value": column.write(result[column.key])}
        for column in columns
        if result.get(column.key) is not None
    ]
    return table([Column("figure", "figure", text), Column("value", "value", str)], rows)


def scenes(result: Result, *identity: Column) -> str:
    """How each scene of a demonstration ended; the columns of what it is come first."""
    columns = [
        *identity,
        Column("route", "route", text),
        Column("slashed", "slashed", text),
        Column("finalised", "finalised", text),
        Column("transactions", "transactions", count),
        Column("gas", "gas", count),
        Column("MB fetched", "bytes_fetched", megabytes),
        Column("seconds", "seconds"),
        Column("evidence", "evidence", text),
    ]
    return table(columns, [result["honest"], *result["cheats"], result["malicious_challenger"]])
