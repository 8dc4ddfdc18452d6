"""A parallel loop and a serial one of the same lines are kept apart."""

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
import sys

import numpy as np
import torch
from numba import prange

from tao.training.loops import Loop


def double(x):
    for i in prange(x.size):
        x[i] *= 2


torch.set_num_threads(2)
for kind in sys.argv[1:]:
    loop = Loop(double).over(kind == "parallel")
    x = np.ones(4)
    loop(x)
    assert (x == 2).all()
    print(sum(loop.stats.cache_hits.values()))
"""


def test_a_loop_kept_on_disk_is_the_one_that_was_compiled(tmp_path: Path) -> None:
    path = tmp_path / "loops.py"
    path.write_text(MODULE)

    def hits(*kinds: str) -> list[int]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
        command = [sys.executable, str(path), *kinds]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return [int(word) for word in done.stdout.split()]

    assert hits("serial", "parallel") == [0, 0]
    assert hits("parallel", "serial") == [1, 1]
