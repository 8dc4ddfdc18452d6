"""Kernel variants of one machine: the honest devices a tolerance profile is calibrated on.

A vendor library picks its kernels by instruction set, thread count and its own heuristics, so one CPU holds
several devices that compute the same operator with different bits; a CUDA device is one more. Most of these
choices are read from the environment once, when torch is loaded. Hence two steps: `apply` (or `environment`
for a child process) before torch is imported, `configure_torch` after. Importing this module loads no torch,
nor does asking for a variant of the CPU.
"""

import getpass
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tao.errors import TaoError

# Every variable that changes kernels; a variant has only those it sets, whatever the parent had.
CONTROLLED = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TORCHINDUCTOR_CACHE_DIR",
    "NVIDIA_TF32_OVERRIDE",
)


class VariantError(TaoError):
    """A kernel variant is unknown, cannot run on this machine or was chosen too late."""


@dataclass(frozen=True)
class Variant:
    """One way of running every operator on this machine.

    env: environment read by the libraries when they load. threads: intra-operator threads, 0 for all cores.
    onednn: whether ATen may call oneDNN. parts: parts a contraction's lanes are split in, 0 for the vendor's
    own order. sequential: whether they are added one after another, not pairwise. numpy: whether contractions
    and sums are NumPy's. composed: sums split alike, and softmax, norms and gelu from elementary kernels, as
    a compiler emits them. runtime: who computes each operator in the place of ATen, see
    `tao.numerics.runtimes`. requires: processor flags without which the libraries would silently run another
    variant. packages: those it needs that may not be installed. device: torch's name of what computes, "cpu"
    or an accelerator.
    """

    name: str
    description: str
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    onednn: bool = True
    parts: int = 0
    sequential: bool = False
    numpy: bool = False
    composed: bool = False
    runtime: str = ""
    requires: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    device: str = "cpu"


_AVX2 = ("avx2", "fma")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma")
_SSE = ("sse4_1",)

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("native", "vendor kernels as installed, all cores"),
        Variant("one-thread", "vendor kernels as installed, one thread", threads=1),
        Variant("three-threads", "vendor kernels as installed, three threads", threads=3),
        Variant("aten-default", "ATen without AVX", {"ATEN_CPU_CAPABILITY": "default"}),
        Variant("aten-avx2", "ATen for AVX2", {"ATEN_CPU_CAPABILITY": "avx2"}, requires=_AVX2),
        Variant("aten-avx512", "ATen for AVX-512", {"ATEN_CPU_CAPABILITY": "avx512"}, requires=_AVX512),
        Variant("onednn-sse41", "oneDNN for SSE4.1", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, requires=_SSE),
        Variant("onednn-avx2", "oneDNN for AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, requires=_AVX2),
        Variant(
            "onednn-avx512", "oneDNN for AVX-512", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, requires=_AVX512
        ),
        Variant("onednn-off", "no oneDNN", onednn=False),
        Variant("mkl-compatible", "oneMKL's portable code path", {"MKL_CBWR": "COMPATIBLE"}, requires=_SSE),
        Variant("mkl-sse42", "oneMKL reproducible for SSE4.2", {"MKL_CBWR": "SSE4_2"}, requires=("sse4_2",)),
        Variant("mkl-avx2", "oneMKL reproducible for AVX2", {"MKL_CBWR": "AVX2"}, requires=_AVX2),
        Variant(
            "baseline",
            "every library without AVX, one thread",
            {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
            threads=1,
            requires=_SSE,
        ),
        Variant(
            "onednn-off-baseline",
            "no oneDNN, every other library without AVX, one thread",
            {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
            threads=1,
            onednn=False,
            requires=_SSE,
        ),
        Variant(
            "avx2",
            "every library limited to AVX2",
            {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
            requires=_AVX2,
        ),
        Variant("split-2", "contractions split in 2 parts of their lanes", parts=2),
        Variant("split-4", "contractions split in 4 parts of their lanes, added pairwise", parts=4),
        Variant(
            "sequential-16",
            "contractions split in 16 parts of their lanes, added one after another",
            parts=16,
            sequential=True,
        ),
        Variant("numpy", "contractions by NumPy's BLAS, sums in NumPy's pairwise order", numpy=True),
        Variant(
            "composed",
            "contractions and sums split in 8 parts; softmax, norms and gelu from elementary kernels",
            parts=8,
            composed=True,
        ),
        Variant(
            "inductor",
            "every operator compiled by TorchInductor, with a cache of its own for each processor",
            runtime="inductor",
        ),
        Variant(
            "onnxruntime",
            "contractions, convolutions, softmax, layer norm, gelu and tanh by ONNX Runtime",
            runtime="onnxruntime",
            packages=("onnxruntime",),
        ),
        Variant("cuda", "ATen and cuBLAS on a CUDA device, without TF32 and cuDNN", device="cuda"),
    )
}


@cache
def _processor_fields() -> Mapping[str, str]:
    """What Linux lists of the first processor; empty where it lists nothing."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n")[0] if path.exists() else ""
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _processor_flags() -> frozenset[str]:
    fields = _processor_fields()
    return frozenset(fields.get("flags", fields.get("Features", "")).split())


def _processor() -> str:
    return _processor_fields().get("model name", platform.processor() or platform.machine())


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def available(runtimes: bool = False, accelerators: bool = True) -> tuple[str, ...]:
    """Names of the variants this machine can run, in the order of `VARIANTS`.

    runtimes: also those of other runtimes, which take minutes to compile a model. accelerators: also those
    that do not run on the CPU; torch is loaded to look for them.
    """
    return tuple(
        name
        for name, chosen in VARIANTS.items()
        if _processor_flags().issuperset(chosen.requires)
        and not _missing_packages(chosen)
        and (runtimes or not chosen.runtime)
        and (chosen.device == "cpu" or (accelerators and _has_cuda()))
    )


def _missing_packages(chosen: Variant) -> list[str]:
    return [package for package in chosen.packages if find_spec(package) is None]


def variant(name: str) -> Variant:
    """The variant called `name`. Raises VariantError if there is none or this machine cannot run it."""
    if name not in VARIANTS:
        raise VariantError(f"there is no kernel variant {name!r}; choose one of {', '.join(VARIANTS)}")
    missing = [flag for flag in VARIANTS[name].requires if flag not in _processor_flags()]
    if missing:
        raise VariantError(
            f"kernel variant {name!r} needs {', '.join(missing)}, which this {platform.machine()} processor "
            f"does not report; choose one of {', '.join(available())}"
        )
    if packages := _missing_packages(VARIANTS[name]):
        raise VariantError(f"kernel variant {name!r} needs {', '.join(packages)}, which is not installed")
    if VARIANTS[name].device != "cpu" and not _has_cuda():
        raise VariantError(f"kernel variant {name!r} needs a CUDA device, and torch finds none here")
    return VARIANTS[name]


def describe(name: str) -> str:
    """The variant `name` on this machine: what it is, the processor or GPU, the version of torch."""
    chosen = variant(name)
    if chosen.device == "cpu":
        return f"{chosen.description}; {_processor()}, torch {version('torch')}"
    import torch

    # Here the version names the CUDA release, too.
    return f"{chosen.description}; {torch.cuda.get_device_name()}, torch {torch.__version__}"


def use_large_pages(process: MutableMapping[str, str] = os.environ) -> None:
    """Have torch ask for large pages for large tensors, unless the environment says otherwise; before it is imported.

    The kernel maps each page at its first use, which takes longer than what most operators do with it. Results are the
    same.
    """
    process.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def environment(name: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that runs variant `name`: `base` (default: ours) less other settings."""
    chosen = variant(name)
    inherited = {k: v for k, v in (os.environ if base is None else base).items() if k not in CONTROLLED}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(chosen.threads))
    if chosen.runtime == "inductor":
        inherited["TORCHINDUCTOR_CACHE_DIR"] = _compiler_cache()
    use_large_pages(inherited)
    return {**inherited, **chosen.env, **(threads if chosen.threads else {})}


def _compiler_cache() -> str:
    """A folder of this user's for compiled kernels of this processor and this torch: they fit no other."""
    machine = repr((sorted(_processor_flags()), version("torch"), getpass.getuser()))
    name = "tao-inductor-" + hashlib.sha256(machine.encode()).hexdigest()[:16]
    return str(Path(tempfile.gettempdir()) / name)


def apply(name: str) -> Variant:
    """Set this process's environment for variant `name`: before torch is imported, `configure_torch` after.

    Raises VariantError if torch is already loaded, because its libraries have chosen their kernels by then,
    and for a variant of another device than the CPU, to which only `tao.numerics.worker` moves tensors.
    """
    if name in VARIANTS and VARIANTS[name].device != "cpu":
        raise VariantError(f"kernel variant {name!r} is for calibration; all else runs on the CPU")
    if "torch" in sys.modules:
        raise VariantError(f"kernel variant {name!r} must be applied before torch is imported")
    chosen = variant(name)
    target = environment(name)
    for key in CONTROLLED:
        os.environ.pop(key, None)
    os.environ.update({key: target[key] for key in CONTROLLED if key in target})
    return chosen


def configure_torch(name: str) -> None:
    """Finish variant `name` inside torch, for the whole process: threads, oneDNN, schedules.

    A process that has chosen none runs `native`.
    """
    chosen = variant(name)
    import torch

    from tao.numerics.kernels import compose_operators, prepare, split_contractions, use_numpy

    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.backends.mkldnn.enabled = chosen.onednn
    if chosen.device == "cuda":
        # cuDNN may choose that algorithm, too. TF32 rounds the factors of products to 11 bits.
        torch.backends.cudnn.enabled = False
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    prepare()
    if chosen.parts:
        split_contractions(chosen.parts, chosen.sequential)
    if chosen.numpy:
        use_numpy()
    if chosen.composed:
        compose_operators(chosen.parts)
