"""The kernel variant of CUDA devices: where there is one, and the moves to and from it on any machine."""

import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.utils._pytree import tree_leaves

from numerics.local import LocalDevice
from numerics.test_work import Net, sample
from tao.commands.calibrate import calibrate_model
from tao.commands.main import main
from tao.model import ModelBundle, trace
from tao.numerics import variants
from tao.numerics.calibrate import Settings, calibrate
from tao.numerics.process import ask_all
from tao.numerics.variants import VariantError
from tao.numerics.worker import Worker
from tao.tensors.store import TensorStore

EXAMPLE = "examples/models.py:classifier"


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(1)
    return trace(Net(), sample(0))


@pytest.fixture
def no_cuda(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


# ---- which machines have it ----


@pytest.mark.parametrize("there", [True, False])
def test_it_is_available_exactly_where_torch_finds_a_device(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert ("cuda" in variants.available()) is there
    assert "cuda" not in variants.available(accelerators=False)


def test_the_command_calibrates_on_it_without_being_told(monkeypatch, tmp_path):
    class Asked(Exception):
        pass

    def calibrate(bundle, inputs, names, *rest):
        raise Asked(names)

    monkeypatch.setattr(variants, "_has_cuda", lambda: True)  # torch itself must not look for one
    monkeypatch.setattr("tao.numerics.calibrate.calibrate", calibrate)
    with pytest.raises(Asked) as caught:
        calibrate_model(EXAMPLE, str(tmp_path), tmp_path)
    (names,) = caught.value.args
    assert names[0] == "native" and names[-1] == "cuda"


def test_it_is_described_by_the_model_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert f"; NVIDIA H200, torch {torch.__version__}" in variants.describe("cuda")


def test_a_machine_without_a_device_refuses_to_calibrate_on_it(no_cuda, bundle, tmp_path):
    with pytest.raises(VariantError, match="'cuda' needs a CUDA device, and torch finds none here"):
        calibrate(bundle, [sample(1)], ["native", "cuda"], str(tmp_path))
    words = ["calibrate", EXAMPLE, "--variant", "native", "--variant", "cuda", "--store", str(tmp_path)]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "profile.json")])
    assert done.exit_code == 1 and "needs a CUDA device, and torch finds none here" in done.output
    assert not (tmp_path / "profile.json").exists()


def test_a_role_is_not_run_on_the_cpu_in_its_place():
    words = ["prover", "--model", "0x" + 32 * "00", "--variant", "cuda"]
    done = CliRunner().invoke(main, words)
    assert (
        done.exit_code == 1 and "'cuda' is for calibration; a role runs with one of native, " in done.output
    )


def test_its_process_computes_sums_of_products_in_float32():
    """No TF32, and no algorithms of cuDNN's choice, Winograd's among them."""
    code = (
        "import torch; torch.cuda.is_available = lambda: True\n"
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True\n"
        "from tao.numerics import variants; variants.configure_torch('cuda')\n"
        "print(torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, "
        "torch.backends.cudnn.enabled)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]
    assert "NVIDIA_TF32_OVERRIDE" not in variants.environment("native", {"NVIDIA_TF32_OVERRIDE": "1"})


# ---- moving tensors ----


class Elsewhere(Tensor):
    """A tensor as if on an accelerator: nothing takes it together with one of the CPU."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not all(isinstance(x, Elsewhere) for x in given):
            raise RuntimeError("tensors are on two devices")
        return super().__torch_function__(function, types, args, kwargs)

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)

    def numpy(self, **rest):
        raise TypeError("only tensors of the CPU have an array")


@pytest.fixture
def elsewhere(monkeypatch, bundle) -> LocalDevice:
    """A worker of a device that this machine need not have."""
    to = Tensor.to

    def move(tensor: Tensor, *target, **rest) -> Tensor:
        return tensor.as_subclass(Elsewhere) if target == ("cuda",) else to(tensor, *target, **rest)

    monkeypatch.setattr(Tensor, "to", move)
    device = LocalDevice("elsewhere", bundle)
    device.worker = Worker(bundle, device="cuda")
    return device


def test_kernels_get_no_tensor_of_the_cpu_and_all_answers_are_there(elsewhere, bundle):
    here, end, seen = LocalDevice("here", bundle), len(bundle.graph), set()

    def look(index, node, operands, outputs):
        seen.update(map(type, (*operands, *outputs)))
        return outputs

    def ask(request: str, *arguments) -> list[Tensor]:
        found, expected = ask_all([elsewhere, here], request, *arguments)
        for theirs, ours in zip(found or [], expected or [], strict=True):
            assert type(theirs) is Tensor and torch.equal(theirs, ours)
        return expected

    elsewhere.worker.override = look
    ask("run", list(sample(1)))
    ask("begin", list(sample(1)))
    for cut in range(end):
        ask("segment", end)
        outputs = ask("step")
        if cut < end - 1:
            ask("hold", outputs)
    assert seen == {Elsewhere}


def test_claimed_outputs_are_judged_by_replays_on_the_device(elsewhere, bundle):
    (output,) = LocalDevice("here", bundle).run(sample(1))
    assert elsewhere.judge(list(sample(1)), [output])[0] <= 1
    assert elsewhere.judge(list(sample(1)), [output + 1e-3])[0] > 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_is_calibrated_on_the_cpu_and_on_cuda_together(bundle, tmp_path):
    inputs = [sample(1), sample(2)]
    profile = calibrate(
        bundle, inputs, ["native", "cuda"], TensorStore(tmp_path).url, settings=Settings(fan_out=3)
    )
    assert [device.name for device in profile.devices] == ["native", "cuda"]
    assert torch.cuda.get_device_name() in profile.devices[1].description
    largest = [node.absolute[-1] for node in profile.nodes]
    assert max(largest) > 0  # they are two devices
    products = [y for y, node in zip(largest, bundle.graph.nodes, strict=True) if "linear" in node.target]
    assert max(products) < 1e-5  # what float32 rounds; TF32 makes 1e-4 and more
    assert profile.segment(0, len(bundle.graph)).elements[-1] > 0
