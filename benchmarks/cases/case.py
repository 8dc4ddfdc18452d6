"""What a case is, and its slots."""

from torch import Tensor

from tao.graph.literals import Slot

Case = tuple[str, list, dict, tuple[Tensor, ...], list[Tensor]]
"""An ATen call (target, args, kwargs, operands) and the results of kernels for its first output."""

ONE, TWO, THREE = ([Slot(i) for i in range(count)] for count in (1, 2, 3))
"""The arguments of a call that takes so many operands first."""
