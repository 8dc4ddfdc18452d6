"""TAO: optimistic verification of what a machine-learning service computed.

    model = tao.trace(module, example_inputs)
    receipt = model.run(inputs)
    report = model.verify(receipt, inputs)

Names are loaded on first use: kernel variants must be chosen before anything imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tao.errors import TaoError
    from tao.model import ModelBundle, trace
    from tao.receipt import Receipt
    from tao.verification import Report

_EXPORTS = {
    "trace": "tao.model",
    "ModelBundle": "tao.model",
    "Receipt": "tao.receipt",
    "Report": "tao.verification",
    "TaoError": "tao.errors",
}

__all__ = ["ModelBundle", "Receipt", "Report", "TaoError", "trace"]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'tao' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
