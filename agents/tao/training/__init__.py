"""Verifiable training: each step a graph that anyone can replay bit for bit.

with tao.training.record(module, optimizer, loader, loss, steps=400, store="runs") as run:
    for step in run:
        print(step.index, step.loss)
report = tao.training.audit(tao.training.prepare(module, optimizer, loader, loss, steps=400), "runs")
"""

from tao.training.audit import AuditReport, audit
from tao.training.job import TrainingClaim, TrainingJob, prepare
from tao.training.optimizers import Optimizer, describe
from tao.training.record import Recording, Step, record
from tao.training.state import StepGraph
from tao.training.trace import trace_step

__all__ = [
    "AuditReport",
    "Optimizer",
    "Recording",
    "Step",
    "StepGraph",
    "TrainingClaim",
    "TrainingJob",
    "audit",
    "describe",
    "prepare",
    "record",
    "trace_step",
]
