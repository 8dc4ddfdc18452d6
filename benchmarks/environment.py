"""What a figure was measured on, and where results are kept."""

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from tao.files import write_whole

RESULTS = Path(__file__).resolve().parent.parent / "results"
PACKAGES = ("torch", "numpy", "numba", "transformers", "web3", "eth-ape")


def processor() -> str:
    """The processor's model name as the kernel gives it."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or "unknown"
    names = [
        line.split(":", 1)[1].strip()
        for line in info.read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def environment() -> dict[str, Any]:
    """Machine, versions and date of a measurement."""
    return {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write_result(name: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Write `results/<name>.json`, whole or not at all: what was measured, with machine, versions and date."""
    result = {**measured, **environment()}
    RESULTS.mkdir(exist_ok=True)
    write_whole(RESULTS / f"{name}.json", (json.dumps(result, indent=2) + "\n").encode())
    return result


def read_result(name: str) -> dict[str, Any]:
    """What `results/<name>.json` holds, nothing where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
