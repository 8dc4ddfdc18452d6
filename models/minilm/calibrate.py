"""Calibrates the sentence encoder and writes profile.json: `python -m models.minilm.calibrate`.

An interrupted run goes on where it was.
"""

import tempfile

from rich.console import Console
from rich.progress import Progress

from models.minilm.model import HERE, batches, load_sentences, trace_model
from tao.chain.build import ROOT
from tao.numerics.calibrate import calibrate
from tao.numerics.variants import available

VARIANTS = (
    "native",
    "aten-default",
    "aten-avx2",
    "onednn-sse41",
    "onednn-avx2",
    "onednn-off",
    "mkl-compatible",
    "split-4",
    "numpy",
    "composed",
)
"""Devices calibrated on; all other variants are left for measuring honesty."""
SENTENCES = 64
"""Sentences calibrated on, the first of the file; the others are left as well."""
WORK = ROOT / ".runs" / "calibration"
"""Results of single inputs."""
SAMPLES = 6
SEED = 1


def main() -> None:
    """Calibrate on SAMPLES batches of sentences and those of VARIANTS that this processor can run."""
    console = Console(stderr=True)
    variants = [name for name in VARIANTS if name in available()]
    with tempfile.TemporaryDirectory() as store, Progress(console=console) as bar:
        task = bar.add_task("calibrating")
        inputs = batches(SAMPLES, SEED, load_sentences()[:SENTENCES])

        def advance(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        profile = calibrate(trace_model(), inputs, variants, store, advance, work_dir=WORK)
    (HERE / "profile.json").write_bytes(profile.to_json() + b"\n")
    console.print(f"wrote profile.json: {len(profile.nodes)} operators, {len(variants)} devices")


if __name__ == "__main__":
    main()
