"""Operators computed by TorchInductor and ONNX Runtime are the same functions in another order."""

import pytest
import torch
from torch import Tensor, nn

from numerics.local import LocalDevice
from tao.model import ModelBundle, trace
from tao.numerics.process import step_together
from tao.numerics.runtimes import override_of


class Small(nn.Module):
    """Two layers of one shape, a softmax, a norm, and an operator that ONNX Runtime is not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(96, 96), nn.Linear(96, 96), nn.LayerNorm(96)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.gelu(self.second(self.first(x)))
        return torch.softmax(self.norm(hidden), -1), hidden.argmax(-1)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(4)
    return trace(Small(), (torch.zeros(12, 96),))


@pytest.mark.timeout(500)
@pytest.mark.parametrize("runtime", ["onnxruntime", "inductor"])
def test_another_runtime_deviates_by_rounding_errors_alone(bundle, runtime, tmp_path, monkeypatch):
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    override = override_of(runtime, bundle.graph)
    pair = [LocalDevice("plain", bundle), LocalDevice(runtime, bundle, override)]
    differing = set()
    x = (torch.randn(12, 96, generator=torch.Generator().manual_seed(3)),)
    for _ in range(2):
        for node, outputs in zip(bundle.graph.nodes, step_together(pair, bundle.graph, x), strict=True):
            ((own,), (other,)) = outputs
            assert own.shape == other.shape and own.dtype == other.dtype
            if own.is_floating_point():
                torch.testing.assert_close(other, own, rtol=2e-5, atol=2e-6)
                if not torch.equal(own, other):
                    differing.add(node.target)
            else:
                assert torch.equal(own, other)
    assert {"aten.gelu.default", "aten.layer_norm.default"} <= differing
    distinct = {(node.target, repr(node.args)) for node in bundle.graph.nodes}
    assert len(override._calls) == len(distinct)  # the two layers share one compilation


def test_vendor_kernels_are_not_replaced(bundle):
    assert override_of("", bundle.graph) is None
