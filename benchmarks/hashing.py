"""What committing a tensor costs: throughput against raw block hashing, memory, and start-up.

Times are the best of several runs, as other processes only add to them; throughput is in bytes hashed per second, for a
commitment in bytes of the tensor.
Memory is the growth of the peak resident set over the first commitment, as a share of the tensor. Start-up is
the time to the first hash in a fresh process without (cold) and with (warm) the compiled code in the cache.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from tao.tensors.keccak import PARALLEL_FROM, hash_blocks, keccak
from tao.tensors.tree import commit

RUNS = 5
COLUMNS = 4096

START_UP = """
import time
import numpy as np
import torch
from tao.tensors.keccak import hash_blocks
start = time.perf_counter()
hash_blocks(np.zeros((1, 64), np.uint8))
print(time.perf_counter() - start)
"""


def measure(progress: Callable[[str], None], mebibytes: int = 1024) -> dict:
    """Time the commitment of `mebibytes` of float32, dense and transposed, and what it is made of."""
    size = mebibytes << 20
    tensor = torch.rand(size // 4 // COLUMNS, COLUMNS)
    hash_blocks(np.zeros((1, 64), np.uint8))  # compile before measuring

    before = _peak_memory()
    commit(tensor)
    result = {"mebibytes": mebibytes, "memory_beyond_tensor": (_peak_memory() - before) / size}
    progress(f"memory beyond the tensor: {result['memory_beyond_tensor']:.2f} of its size")

    # The tensor's own bytes as blocks: what is timed is the hashing of the leaves alone.
    chunks = tensor.numpy().view(np.uint8).reshape(-1, 256)
    one_core = chunks[: (PARALLEL_FROM - 1) // 256]
    message = chunks[0].tobytes()
    for name, count, action in [
        ("blocks_gb_per_s", chunks.nbytes, lambda: hash_blocks(chunks)),
        ("blocks_one_core_gb_per_s", one_core.nbytes, lambda: hash_blocks(one_core)),
        ("library_one_core_gb_per_s", 256 * 4096, lambda: [keccak(message) for _ in range(4096)]),
        ("commit_gb_per_s", size, lambda: commit(tensor)),
        ("commit_transposed_gb_per_s", size, lambda: commit(tensor.T)),
    ]:
        result[name] = count / _best(action) / 1e9
        progress(f"{name}: {result[name]:.3g}")

    result["commit_over_blocks"] = result["commit_gb_per_s"] / result["blocks_gb_per_s"]
    small = tensor[0, :1024]
    result["commit_4_kib_us"] = _best(lambda: commit(small)) * 1e6
    progress(f"commit_4_kib_us: {result['commit_4_kib_us']:.3g}")
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold_start_s", "warm_start_s"):
            result[name] = _start_up(cache)
            progress(f"{name}: {result[name]:.3g}")
    return result


def _best(action: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _start_up(cache: str) -> float:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", START_UP]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    measure(print, *map(int, sys.argv[1:]))
