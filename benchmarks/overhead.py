"""What the honest path costs: the committed run against the plain module, interleaved, in one process.

Time is the median (and 90th percentile) of ratios, each of a committed run to the plain one beside it. They
alternate as A B B A B A A B, so that neither a machine that slows down steadily nor the place in a pair
favours either. A control of plain against plain says what this machine resolves. Memory is the peak
resident set of two fresh processes that do the same but for the commitment, the plain one's plus the
size of the output.
"""

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.configurations import QWEN3_100M
from tao import receipt

BLOCKS = {"minilm_batch32": 40, "bert_base": 40, "qwen3_100m": 120}
CONTROL_BLOCKS = 40
ORDER = ("AB", "BA", "BA", "AB")


@dataclass(frozen=True)
class Case:
    """A module with the inputs it is timed on."""

    module: nn.Module
    inputs: tuple[Tensor, ...]


class Bert(nn.Module):
    """BERT-base with random weights; its output is the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.bert = BertModel(BertConfig(attn_implementation="eager"))

    def forward(self, ids: Tensor) -> Tensor:
        return self.bert(ids).last_hidden_state


class Qwen(nn.Module):
    """A 12-layer model of Qwen3's shape, about 100M parameters; its output is the next token's logits."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import Qwen3Config, Qwen3ForCausalLM

        self.qwen = Qwen3ForCausalLM(Qwen3Config(**QWEN3_100M, attn_implementation="eager"))

    def forward(self, ids: Tensor) -> Tensor:
        return self.qwen(ids, use_cache=False, logits_to_keep=1).logits


def case(name: str) -> Case:
    """One of the measured models, in eval mode, with inputs of a fixed seed."""
    torch.manual_seed(0)
    if name == "minilm_batch32":
        from models.minilm.model import load_module, load_sentences, tokenise

        module, inputs = load_module(), tokenise(load_sentences()[:32])
    elif name == "bert_base":
        module, inputs = Bert(), (torch.randint(0, 30000, (1, 128)),)
    else:
        module, inputs = Qwen(), (torch.randint(0, 32000, (1, 128)),)
    return Case(module.eval(), inputs)


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved_ratios(
    numerator: Callable[[], object], denominator: Callable[[], object], blocks: int
) -> list[float]:
    """The ratio of the two functions' times in each pair of runs, four pairs a block as in ORDER."""
    ratios = []
    for pair in ORDER * blocks:
        times = {which: seconds(numerator if which == "A" else denominator) for which in pair}
        ratios.append(times["A"] / times["B"])
    return ratios


def measure_time(name: str) -> dict[str, float]:
    """Ratios of the committed run to the plain one, and of the plain one to itself."""
    torch.set_num_threads(1)  # two threads waiting for each other add more noise than a commitment costs
    measured = case(name)

    def plain() -> object:
        return measured.module(*measured.inputs)

    def committed() -> object:
        return receipt.run(measured.module, measured.inputs)

    with torch.inference_mode():
        for _ in range(3):
            plain(), committed()
        gc.collect()
        gc.disable()  # a collection in one run of a pair would be charged to it
        ratios = interleaved_ratios(committed, plain, BLOCKS[name])
        control = interleaved_ratios(plain, plain, CONTROL_BLOCKS)
        gc.enable()
        alone = statistics.median(seconds(plain) for _ in range(5))
        values = receipt.run(measured.module, measured.inputs).values
        commitment = statistics.median(
            seconds(lambda: receipt.run(lambda *_: values, measured.inputs)) for _ in range(9)
        )
    return {
        "ratio_median": statistics.median(ratios),
        "ratio_p90": statistics.quantiles(ratios, n=10)[-1],
        "control_ratio_median": statistics.median(control),
        "seconds_plain": alone,
        "seconds_commitment": commitment,
        "pairs": len(ratios),
    }


def peak_memory(name: str, committed: bool) -> int:
    """Peak resident bytes of this process after five runs; prints them with the output's size."""
    measured = case(name)
    with torch.inference_mode():
        receipt.run(lambda x: x, (torch.zeros(8),))  # both processes load the hashing code
        for _ in range(5):
            values = (
                receipt.run(measured.module, measured.inputs).values
                if committed
                else (measured.module(*measured.inputs),)
            )
    output = sum(value.numel() * value.element_size() for value in values)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, output)
    return 0


def measure_memory(name: str) -> float:
    """Median over three pairs of processes of committed peak / (plain peak + output)."""

    def peak(kind: str) -> tuple[int, int]:
        command = [sys.executable, "-m", "benchmarks.overhead", name, kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return tuple(int(word) for word in done.stdout.split()[-2:])

    ratios = []
    for _ in range(3):
        (committed, output), (plain, _) = peak("committed"), peak("plain")
        ratios.append(committed / (plain + output))
    return statistics.median(ratios)


def measure(progress: Callable[[str], None]) -> dict:
    """Time and memory ratios of every case."""
    models = {}
    for name in BLOCKS:
        progress(f"{name}: {BLOCKS[name]} interleaved blocks of eight runs")
        models[name] = measure_time(name)
        progress(f"{name}: peak memory of three pairs of processes")
        models[name]["peak_memory_ratio"] = measure_memory(name)
        ratio, memory = models[name]["ratio_median"], models[name]["peak_memory_ratio"]
        progress(f"{name}: ratio {ratio:.4f}, memory {memory:.4f}")
    return {"models": models, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    sys.exit(peak_memory(sys.argv[1], sys.argv[2] == "committed"))
