"""Training as one graph a step."""

from tao.training.optimizers import Optimizer, describe
from tao.training.state import StepGraph
from tao.training.trace import trace_step

__all__ = ["Optimizer", "StepGraph", "describe", "trace_step"]
