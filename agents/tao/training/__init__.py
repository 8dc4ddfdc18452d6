"""Verifiable training: each step a graph that anyone can replay bit for bit.

with tao.training.record(module, optimizer, loader, loss, steps=400, store="runs") as run:
    for step in run:
        print(step.index, step.loss)
job = tao.training.prepare(agreed, agreed_optimizer, loader, loss, steps=400)
report = tao.training.audit(job, "runs", run.claim())

`loss` is called as loss(module, *batch). Recording trains the module, so that the auditor prepares the job from a
copy of what was agreed on, with an optimizer of its own.
"""

from tao.training import schedules
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
    "schedules",
    "trace_step",
]
