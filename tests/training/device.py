"""Records or audits a run as one kernel variant: variant, role, store, model, commitments of the first state."""

import json
import sys

from tao.numerics import variants

variant, role, folder, model_id, *first = sys.argv[1:]
variants.apply(variant)

import torch  # noqa: E402

from tao.model import ModelBundle  # noqa: E402
from tao.tensors import commit  # noqa: E402
from tao.tensors.store import TensorStore  # noqa: E402
from tao.training import TrainingJob, audit  # noqa: E402
from tao.training.checkpoints import Trail  # noqa: E402
from tao.training.record import Recording, claim_of  # noqa: E402

variants.configure_torch(variant)
store = TensorStore(folder)
bundle = ModelBundle.load(store, bytes.fromhex(model_id))
job = TrainingJob(bundle, tuple(store.get_tensor(bytes.fromhex(value)) for value in first))
generator = torch.Generator().manual_seed(0)
a, b = (torch.randn(64, 64, generator=generator, dtype=torch.float64) for _ in range(2))
result = {"digest": commit(torch.mm(a, b)).hex()}
if role == "record":
    recording = Recording(job, store, 200)
    result["steps"] = len(list(recording))
else:
    report = audit(job, store, claim_of(job, Trail(store, bundle.model_id, job.first)))
    result["steps"] = report.steps
    result["difference"] = None if report.difference is None else str(report.difference)
    result["corrections"] = sum(map(len, report.corrections))
print(json.dumps(result))
