"""Running a graph: the whole of it, or from one cut to another."""

from tao.execution.replay import capture, node_values, replay
from tao.execution.run import Executor, refuses_values

__all__ = ["Executor", "capture", "node_values", "refuses_values", "replay"]
