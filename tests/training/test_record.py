"""Recording: what is written, going on after an interruption, and what is refused."""

import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from torch import nn

import tao.training
from tao.errors import ModelError, StoreError, TaoError, UnsupportedOperator
from tao.tensors.store import TensorStore
from tao.training.job import TrainingJob, prepare
from tao.training.policies import NotFinite
from tao.training.record import Recording
from training.cases import classified, mlp
from training.runs import OPTIONS, STEPS, dropout_case, files, job, parts, recorded, trail


class Photographed(TensorStore):
    """Copies the store before each write of a log, a checkpoint or a head: what ending the process there
    leaves."""

    def __init__(self, folder, album):
        super().__init__(folder)
        self._folder, self.album, self.pictures = folder, album, 0

    def _write(self, path, data):
        if not path.startswith("tensors"):
            if self._folder.exists():
                shutil.copytree(self._folder, self.album / str(self.pictures))
            self.pictures += 1
        super()._write(path, data)


@pytest.mark.parametrize("make", [mlp, dropout_case])
def test_an_ordinary_module_holds_the_last_state_after_the_loop(make, tmp_path):
    case = make()
    with tao.training.record(*parts(case), store=tmp_path, keep_every=2, **OPTIONS) as run:
        steps = list(run)
        before = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}
    claim = run.claim()
    assert [step.index for step in steps] == list(range(STEPS))
    assert any(not torch.equal(before[name], now) for name, now in case.module.state_dict().items())
    store, graph = TensorStore(tmp_path), run.run.job.step_graph
    packed = graph.layout.unpack([store.get_tensor(commitment) for commitment in claim.outputs])
    held = dict(case.module.named_parameters()) | dict(case.module.named_buffers())
    for name, tensor in (packed.parameters() | packed.buffers()).items():
        assert torch.equal(held[name], tensor)
    for moment in graph.layout.groups[0].rule.moments:
        assert all(moment in case.optimizer.state[p] for p in case.module.parameters())
    again = graph.pack(case.module, case.optimizer, (1, 2), STEPS)
    moments = graph.layout.unpack(again).moments
    for mine, theirs in zip(
        torch.utils._pytree.tree_leaves(moments), torch.utils._pytree.tree_leaves(packed.moments), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert tao.training.audit(run.run.job, store, claim).is_equal


def test_a_loop_that_an_error_ends_leaves_module_and_optimizer_for_the_same_call_to_go_on(tmp_path):
    case, whole = mlp(), recorded(TensorStore(tmp_path / "whole")).claim()
    first = {name: tensor.clone() for name, tensor in case.module.named_parameters()}

    def record():
        return tao.training.record(*parts(case), store=tmp_path / "parts", **OPTIONS)

    with pytest.raises(ZeroDivisionError), record() as run:
        for step in run:
            if step.index == 2:
                raise ZeroDivisionError
    assert int(run.run.state[0]) == 3 and not case.optimizer.state
    assert all(torch.equal(first[name], tensor) for name, tensor in case.module.named_parameters())
    with record() as run:
        assert [step.index for step in run] == list(range(3, STEPS))
    assert run.claim() == whole


def test_the_state_of_a_loop_that_ended_early_can_be_loaded(tmp_path):
    case = mlp()
    with tao.training.record(*parts(case), store=tmp_path, **OPTIONS) as run:
        next(iter(run))
    run.load()
    packed = run.run.job.step_graph.layout.unpack(run.run.state).parameters()
    assert int(run.run.state[0]) == 1
    assert all(torch.equal(packed[name], tensor) for name, tensor in case.module.named_parameters())


@pytest.mark.parametrize("keep_every", [1, 3])
def test_a_recording_killed_before_any_write_goes_on_to_the_same_files(keep_every, tmp_path):
    store = Photographed(tmp_path / "whole", tmp_path / "killed")
    whole = recorded(store, keep_every).claim()
    expected = files(tmp_path / "whole")
    assert store.pictures >= 3 * STEPS
    for picture in range(store.pictures):
        folder = tmp_path / "killed" / str(picture)
        assert recorded(TensorStore(folder), keep_every).claim() == whole
        assert files(folder) == expected


def test_a_recording_stopped_after_each_step_goes_on_from_there(tmp_path):
    whole = recorded(TensorStore(tmp_path / "whole")).claim()
    store, done = TensorStore(tmp_path / "parts"), []
    for _ in range(STEPS):
        done.append(Recording(job(), store, 3).advance().index)
    assert done == list(range(STEPS))
    assert Recording(job(), store, 3).claim() == whole
    assert list(Recording(job(), store, 3)) == []


def test_the_checkpoint_root_does_not_depend_on_which_states_are_kept(tmp_path):
    roots = {recorded(TensorStore(tmp_path / str(n)), n).claim().checkpoint_root for n in (1, 3, 50)}
    assert len(roots) == 1


def test_a_claim_before_the_last_step_is_refused(tmp_path):
    recording = Recording(job(), TensorStore(tmp_path))
    recording.advance()
    with pytest.raises(ModelError, match=f"1 of {STEPS} steps are recorded"):
        recording.claim()
    with pytest.raises(ModelError, match="every 0 steps; give 1 or more"):
        Recording(job(), TensorStore(tmp_path), 0)


class Filling(MemoryFileSystem):
    """A file system that is full when it is told to be."""

    protocol = "filling"
    is_full = False

    def pipe_file(self, path, value, **kwargs):
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().pipe_file(path, value, **kwargs)


def test_a_full_disk_loses_nothing_and_the_recording_goes_on_once_there_is_space(tmp_path):
    whole = recorded(TensorStore(tmp_path)).claim()
    store = TensorStore("memory://full-disk")
    store._filesystem = Filling()
    recording = Recording(job(), store, 3)
    for _ in range(2):
        recording.advance()
    Filling.is_full = True
    try:
        with pytest.raises(StoreError, match="No space left on device"):
            recording.advance()
        assert trail(store).head == recording.position == 2
    finally:
        Filling.is_full = False
    assert [step.index for step in recording] == list(range(2, STEPS))
    assert recording.claim() == whole


class Nearly(MemoryFileSystem):
    """A file system that has room for some more files."""

    protocol = "nearly"
    left = 0

    def pipe_file(self, path, value, **kwargs):
        if not Nearly.left:
            raise OSError(28, "No space left on device")
        Nearly.left -= 1
        super().pipe_file(path, value, **kwargs)


def test_a_disk_that_is_full_at_any_write_ends_in_a_sentence_and_loses_nothing(tmp_path):
    """Within the states that are kept, at a log, at a checkpoint and at the head."""
    whole, heads = recorded(TensorStore(tmp_path)).claim(), []
    store = TensorStore("memory://nearly-full-disk")
    store._filesystem = Nearly()
    told = 0
    for attempt in range(100):
        Nearly.left = (0, 1, 2, 3, 5, 30)[attempt % 6]
        try:
            recording = Recording(job(), store, 3)
            heads.append(recording.position)
            list(recording)
        except StoreError as error:
            assert "No space left on device" in str(error) and "\n" not in str(error)
            told += 1
        if heads[-1:] == [STEPS]:
            break
    assert heads == sorted(heads) and heads[-1] == STEPS and told > 5
    assert Recording(job(), store, 3).claim() == whole
    assert tao.training.audit(job(), store, whole).is_equal


class Unsupported(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return torch.linalg.qr(x @ self.weight)[0][:, :3]


def with_module(module, **options):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return prepare(module, optimizer, mlp().dataset, classified, **{**OPTIONS, **options})


def on_meta():
    module = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3, device="meta"))
    return with_module(module)


def with_data(data, **options):
    module, optimizer, _, loss = parts(mlp())
    return prepare(module, optimizer, data, loss, **{**OPTIONS, **options})


REFUSED = {
    "an operator nobody replays": (lambda: with_module(Unsupported()), "qr"),
    "two devices": (on_meta, "spread over cpu, meta; move it to one device"),
    "a device without values": (
        lambda: with_module(nn.Linear(6, 3, device="meta")),
        "meta",
    ),
    "no batch size": (lambda: with_data(mlp().dataset, batch_size=None), "the batch size is not known"),
    "a batch larger than the data": (lambda: with_data(mlp().dataset, batch_size=11), "11 cannot be drawn"),
    "evaluation mode": (lambda: with_module(mlp().module.eval()), "in evaluation mode"),
    "no steps": (lambda: with_module(mlp().module, steps=0), "step"),
    "a seed of another size": (
        lambda: with_module(mlp().module, seed=(1, 2**32)),
        "two whole numbers of 32 bits",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_training_job_is_refused_in_a_sentence(case):
    make, reason = REFUSED[case]
    with pytest.raises((ModelError, UnsupportedOperator), match=reason) as caught:
        make()
    assert isinstance(caught.value, TaoError)


def test_a_parameter_changed_in_place_is_told_by_its_name(tmp_path):
    case = mlp()
    with pytest.raises(ModelError, match=r"^2\.weight was changed outside the recording"):
        with tao.training.record(*parts(case), store=tmp_path, **OPTIONS) as run:
            for step in run:
                if step.index == STEPS - 1:
                    with torch.no_grad():
                        case.module[2].weight.mul_(2)
    assert run.run.trail.head == STEPS and tao.training.audit(run.run.job, tmp_path, run.claim()).is_equal


CHANGED = {
    "a parameter behind autograd's back": (
        lambda case: case.module[0].weight.data.add_(1),
        r"^0\.weight",
        STEPS,
    ),
    "the images": (lambda case: case.dataset[0].mul_(0.5), r"^tensor 0 of the data set", 3),
    "the labels": (lambda case: case.dataset[1].fill_(0), r"^tensor 1 of the data set", 3),
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_is_changed_in_place_is_told_and_what_was_recorded_goes_on(what, tmp_path):
    change, name, recorded_steps = CHANGED[what]
    whole = recorded(TensorStore(tmp_path / "whole")).claim()
    case = mlp()
    before = [tensor.clone() for tensor in case.dataset]
    with pytest.raises(ModelError, match=name + " was changed outside the recording") as caught:
        with tao.training.record(*parts(case), store=tmp_path / "run", **OPTIONS) as run:
            for step in run:
                if step.index == 2:
                    change(case)
    assert "\n" not in str(caught.value) and run.run.trail.head == recorded_steps
    for tensor, value in zip(case.dataset, before, strict=True):
        tensor.copy_(value)
    going_on = Recording(job(), TensorStore(tmp_path / "run"))
    assert going_on.position == recorded_steps and len(list(going_on)) == STEPS - recorded_steps
    assert going_on.claim() == whole


def test_a_rate_that_is_too_large_ends_in_a_sentence_and_keeps_the_steps_before(tmp_path):
    case = mlp()
    for group in case.optimizer.param_groups:
        group["lr"] = 1e20
    done = []
    with pytest.raises(NotFinite, match="step [1-9] has a NaN or infinite value in node") as caught:
        with tao.training.record(*parts(case), store=tmp_path, **OPTIONS) as run:
            for step in run:
                done.append(step)
    assert done and all(parameter.isfinite().all() for parameter in case.module.parameters())
    assert run.run.trail.head == len(done)
    graph, said = run.run.job.bundle.graph, str(caught.value)
    assert f"node {caught.value.node} ({graph.names[caught.value.node]})" in said and "\n" not in said
    assert "a lower learning rate" in said and "stay recorded" in said
    again = Recording(run.run.job, TensorStore(tmp_path))
    assert again.position == len(done)
    assert all(torch.equal(a, b) for a, b in zip(again.state, run.run.state, strict=True))
    with pytest.raises(NotFinite) as once_more:
        again.advance()
    assert str(once_more.value) == said and again.trail.head == len(done)
    assert tao.training.audit(run.run.job, tmp_path, last=len(done)).is_equal


def test_a_loss_that_overflows_alone_is_not_recorded(tmp_path):
    """Its gradient is finite, so no value of the state tells."""

    def huge(module, x, y):
        return classified(module, x, y) * 1e30 * 1e9

    module = mlp().module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    recording = Recording(
        prepare(
            module, optimizer, mlp().dataset, lambda m, *b: huge(m, *b) * 0.0 + classified(m, *b), **OPTIONS
        ),
        TensorStore(tmp_path),
    )
    with pytest.raises(NotFinite, match=r"^step 0 has (the loss nan|a NaN or infinite value) in node \d+ \("):
        recording.advance()
    assert recording.trail.head == 0


def test_a_loss_that_is_no_number_is_told_with_its_node(tmp_path):
    """The loss is reported and not used: nothing else of the step need be infinite."""

    class Infinite(Recording):
        def compute(self, state, step):
            result = super().compute(state, step)
            if step == 2:
                self.replay.watched[self.job.loss] = torch.tensor(torch.inf)
            return result

    recording = Infinite(job(), TensorStore(tmp_path))
    with pytest.raises(
        NotFinite, match=r"^step 2 has the loss inf in node \d+ \(.*new run in range$"
    ) as caught:
        list(recording)
    assert job().loss in job().bundle.graph.nodes[caught.value.node].outputs
    assert recording.trail.head == recording.position == 2


def test_steps_follow_one_another(tmp_path):
    steps = list(Recording(job(), TensorStore(tmp_path)))
    assert all(later.index == earlier.index + 1 for earlier, later in pairwise(steps))
    assert all(step.loss > 0 and step.log_bytes > 0 and step.seconds >= step.commit_seconds for step in steps)


@pytest.mark.parametrize("key", [None, b"secret"])
def test_the_storage_is_what_the_files_of_the_run_take(key, tmp_path):
    store = TensorStore(tmp_path)
    job().bundle.save(store)
    model = files(tmp_path)
    whole = Recording(job(), store, 3, key=key)
    steps = [whole.advance() for _ in range(4)]
    again = Recording(job(), store, 3, key=key)
    steps += list(again)
    added = sum(len(data) for name, data in files(tmp_path).items() if name not in model)
    assert whole.storage.total + again.storage.total == added
    assert whole.storage.logs + again.storage.logs == sum(step.log_bytes for step in steps)


def test_a_loss_that_its_gradient_is_computed_from_is_recorded_as_torch_has_it(tmp_path):
    """No value of the graph is then without use."""
    torch.manual_seed(0)
    module, x, y = nn.Linear(4, 1), torch.randn(8, 4), torch.randn(8, 1)

    def root(module, x, y):
        return nn.functional.mse_loss(module(x), y).sqrt()

    agreed = prepare(
        module, torch.optim.SGD(module.parameters(), lr=0.1), (x, y), root, steps=1, batch_size=8
    )
    step = Recording(agreed, TensorStore(tmp_path)).advance()
    assert step.loss == pytest.approx(float(root(module, x, y).detach()), rel=1e-6)
    assert TrainingJob(agreed.bundle, agreed.initial).loss is None


def test_a_loss_that_the_state_keeps_is_none_that_a_recording_watches(tmp_path):
    whole = job()
    kept = replace(whole.step_graph, loss=whole.step_graph.graph.outputs[-2])
    step = next(iter(Recording(replace(whole, step_graph=kept), TensorStore(str(tmp_path)))))
    assert step.index == 0 and step.loss is None
