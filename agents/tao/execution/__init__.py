"""Running a graph: the whole of it, or from one cut to another."""

from tao.execution.kernels import kernel, refuses_values
from tao.execution.replay import capture, node_values, replay
from tao.execution.run import Executor

__all__ = ["Executor", "capture", "kernel", "node_values", "refuses_values", "replay"]
