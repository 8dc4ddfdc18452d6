import os
import subprocess
import sys
from pathlib import Path

import pytest

from tao.numerics import variants
from tao.numerics.variants import CONTROLLED, VARIANTS, VariantError

WORKER = Path(__file__).with_name("variant_digest.py")


def python(*arguments: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, env=env)
    return done.stdout.strip()


def digest(name: str) -> str:
    return python(str(WORKER), name)


def test_there_are_twenty_variants_and_native_runs_anywhere():
    assert len(VARIANTS) >= 20
    assert "native" in variants.available()
    assert set(variants.available()) < set(variants.available(runtimes=True)) <= set(VARIANTS)


def test_importing_the_variants_does_not_load_torch():
    assert python("-c", "import sys, tao.numerics.variants; print('torch' in sys.modules)") == "False"


def test_asking_for_a_variant_of_the_cpu_does_not_load_torch():
    code = (
        "import sys; from tao.numerics import variants; variants.available(accelerators=False); "
        "variants.apply('native'); print('torch' in sys.modules)"
    )
    assert python("-c", code) == "False"


@pytest.mark.skipif("avx2" not in variants.available(), reason="needs AVX2")
def test_one_processor_holds_at_least_five_devices_with_distinct_bits():
    names = ("native", "aten-default", "onednn-off", "split-4", "sequential-16", "numpy", "composed")
    digests = {name: digest(name) for name in names}
    assert len(set(digests.values())) >= 5, digests
    assert digest("native") == digests["native"]


def test_an_environment_drops_what_another_variant_set(monkeypatch):
    base = {"PATH": "/bin", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "7"}
    assert variants.environment("native", base) == {"PATH": "/bin", "THP_MEM_ALLOC_ENABLE": "1"}
    assert variants.environment("one-thread", base)["OMP_NUM_THREADS"] == "1"


def test_who_wants_small_pages_has_them():
    assert variants.environment("native", {"THP_MEM_ALLOC_ENABLE": "0"}) == {"THP_MEM_ALLOC_ENABLE": "0"}


def test_a_variant_cannot_be_applied_once_torch_is_loaded():
    import torch  # noqa: F401

    before = {key: os.environ.get(key) for key in CONTROLLED}
    with pytest.raises(VariantError, match="before torch is imported"):
        variants.apply("native")
    assert {key: os.environ.get(key) for key in CONTROLLED} == before


def test_an_unknown_variant_names_those_there_are():
    with pytest.raises(VariantError, match="no kernel variant 'gpu'; choose one of native,"):
        variants.variant("gpu")


def test_a_variant_this_processor_lacks_is_refused_not_replaced(monkeypatch):
    monkeypatch.setattr(variants, "_processor_flags", lambda: frozenset({"sse4_1"}))
    assert "aten-avx2" not in variants.available()
    assert "onednn-sse41" in variants.available()
    with pytest.raises(VariantError, match="'aten-avx2' needs avx2, fma"):
        variants.environment("aten-avx2")


def test_composed_kernels_compute_the_same_functions_in_another_order():
    deviation = float(python(str(WORKER.with_name("composed_operators.py"))))
    assert 0 < deviation < 1e-12


def test_a_variant_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(variants, "find_spec", lambda name: None)
    assert "onnxruntime" not in variants.available(runtimes=True)
    with pytest.raises(VariantError, match="'onnxruntime' needs onnxruntime, which is not installed"):
        variants.variant("onnxruntime")


def test_compiled_kernels_have_a_cache_of_their_own_for_each_processor(monkeypatch):
    caches = []
    for flags in (("avx2",), ("avx2", "avx512f")):
        monkeypatch.setattr(variants, "_processor_flags", lambda flags=flags: frozenset(flags))
        caches.append(variants.environment("inductor")["TORCHINDUCTOR_CACHE_DIR"])
    assert len(set(caches)) == 2
    assert "TORCHINDUCTOR_CACHE_DIR" not in variants.environment("native", {"TORCHINDUCTOR_CACHE_DIR": "x"})


def test_a_variant_tells_the_machine_it_runs_on():
    assert "one thread" in variants.describe("one-thread") and ", torch 2." in variants.describe("one-thread")


TRACED = "torch.manual_seed(0); module, given = torch.nn.Linear(2, 2), (torch.ones(1, 2),); "


@pytest.mark.parametrize(
    "use",
    [
        "from tao.commands.options import apply_variant; apply_variant(None)",
        TRACED + "model = tao.trace(module, given); model.run(given); model.verify(model.run(given), given)",
        TRACED + "import tao.training; data = torch.utils.data.TensorDataset(torch.ones(4, 2)); "
        "loss = lambda module, x: module(x).sum(); optimizer = torch.optim.SGD(module.parameters(), lr=0.1); "
        "list(tao.training.record(module, optimizer, data, loss, steps=1, store='memory://', batch_size=2))",
    ],
    ids=["without --variant", "a run by the library", "a recording by the library"],
)
def test_who_chooses_no_variant_has_the_kernels_of_native_from_the_first_call_on(use: str) -> None:
    """One thread alone calls vector mathematics first, once, and nothing is convolved by Winograd's algorithm."""
    code = (
        "import torch, tao\n"
        "from tao.numerics import kernels\n"
        "calls = []\n"
        "kernels.warm_up = lambda: calls.append(torch._C._get_nnpack_enabled())\n"
        f"{use}\n"
        "print(calls)"
    )
    assert python("-c", code).splitlines()[-1] == "[False]"
