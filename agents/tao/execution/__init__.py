"""Running a graph: the whole of it, or from one cut to another."""

from tao.execution.replay import capture, node_operands, node_values, replay
from tao.execution.run import Executor

__all__ = ["Executor", "capture", "node_operands", "node_values", "replay"]
