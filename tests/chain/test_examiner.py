"""The process in which a member judges: what it answers, and what it has, leaves and survives."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.small import Cheat, InProcess, inputs, with_profile
from chain.processes import wait_until
from chain.test_hostile_models import honest, votes, voting
from chain.world import FIRST_MEMBER
from tao.errors import ModelError, StoreError
from tao.graph import Graph
from tao.model import ModelBundle, trace
from tao.numerics.statistics import VoteStatistics
from tao.protocol.views import Vote
from tao.roles.examination import MOST_MODELS, Examination
from tao.roles.examiner import MEMORY, ExaminerProcess
from tao.roles.member import LIMIT, PATIENCE, MemberRole
from tao.roles.question import Question
from tao.tensors.store import TensorStore

SECRETS = {"TAO_PRIVATE_KEY": "0x11", "TAO_PASSPHRASE": "open", "APE_ACCOUNTS_mine_PASSPHRASE": "sesame"}
NODE = 5

ENDLESS = (
    b'{"graph":{"inputs":1,"nodes":[{"args":[{"operand":0},[500,500],[1,1]],"kwargs":{},"operands":'
    b'[[0,[1,1,1000,1000],[0,0,1000,1],0]],"outputs":[1],"slots":[0],"target":"aten.max_pool2d.default"}],'
    b'"outputs":[1],"parameters":0,"types":[[6,[1,1,1000,1000]],[6,[1,1,501,501]]]},"hints":{"layouts":'
    b'[null,null],"names":[":aten.max_pool2d.default"],"operands":[[null]]},"version":1}'
)
"""A window of 500 x 500 numbers, moved over 501 x 501 places: it takes minutes."""


@pytest.fixture(scope="module")
def store(tmp_path_factory, deployed, bundle):
    store = TensorStore(str(tmp_path_factory.mktemp("store")))
    bundle.save(store)
    return store


@pytest.fixture(scope="module")
def examiner(store):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        examiner = ExaminerProcess(store.url, "test", "split-4")
        with pytest.raises(StoreError, match="is missing"):
            examiner.load(b"m" * 32)
    yield examiner
    examiner.close()


@pytest.fixture(scope="module")
def endless(store):
    """A model that nobody has the time to run, and commitments of values at both ends."""
    bundle = with_profile(ModelBundle(Graph.from_json(ENDLESS), ()))
    values = (store.put_tensor(torch.zeros(kind.shape)) for kind in bundle.graph.types)
    return bundle.save(store), *((value,) for value in values)


def answer(examiner, question):
    examiner.start(question)
    return finished(examiner)


def finished(examiner):
    end = time.monotonic() + 60
    while (found := examiner.answer(1.0)) is None:
        assert time.monotonic() < end
    return found


def claimed(bundle, store, behaviour=None) -> Question:
    """What a case asks about operator NODE of a run."""
    states = (behaviour or Cheat(bundle, NODE, 0.0)).capture(inputs(), (NODE, NODE + 1))
    before, after = (tuple(map(store.put_tensor, states[cut])) for cut in (NODE, NODE + 1))
    return Question(bundle.model_id, NODE, NODE + 1, before, after)


def test_a_process_answers_as_this_one_would(examiner, bundle, store):
    here = InProcess(Examination(store, "test"))
    right, wrong = claimed(bundle, store), claimed(bundle, store, Cheat(bundle, NODE))
    missing = Question(bundle.model_id, NODE, NODE + 1, (b"?" * 32,), right.after)
    for question, vote in ((right, Vote.ACCEPT), (wrong, Vote.REJECT)):
        found = answer(examiner, question)
        assert found[0] is vote and found == answer(here, question)
    assert examiner.bytes_read == here.bytes_read > 0
    with pytest.raises(StoreError, match="missing"):
        answer(examiner, missing)


def test_it_judges_with_the_kernels_of_its_variant(examiner, store):
    inputs = (torch.randn(4, 4096, generator=torch.Generator().manual_seed(0)),)
    torch.manual_seed(0)
    bundle = with_profile(trace(torch.nn.Linear(4096, 8, bias=False), inputs))
    receipt = bundle.run(inputs)
    before, after = (tuple(map(store.put_tensor, state)) for state in (inputs, receipt.values))
    question = Question(bundle.save(store), 0, 1, before, after)
    here = InProcess(Examination(store, "test"))
    theirs, mine = (VoteStatistics.decode(answer(each, question)[1]) for each in (examiner, here))
    assert mine.absolute[-1] == 0 < theirs.absolute[-1]


def test_it_has_no_key_and_bounded_memory(examiner):
    process = Path(f"/proc/{examiner._child.pid}")
    wait_until(lambda: int((process / "oom_score_adj").read_text()) == 1000)
    environment = (process / "environ").read_bytes()
    assert b"PATH=" in environment and not any(name.encode() in environment for name in SECRETS)
    (limit,) = [line for line in (process / "limits").read_text().splitlines() if "Max data" in line]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert int(limit.split()[3]) <= MEMORY * memory


def test_it_ends_with_its_parent_whatever_it_computes(examiner, endless):
    """Whose end of the pipe is closed however it ends, be it by SIGKILL."""
    model_id, *states = endless
    examiner.start(Question(model_id, 0, 1, *states))
    assert examiner.answer(1.0) is None
    child = examiner._child
    child.stdin.close()
    assert child.wait(5) == 0
    examiner.close()


def test_a_process_that_ends_is_told_and_replaced(examiner, bundle, store):
    question = claimed(bundle, store)
    examiner.start(question)
    os.kill(examiner._child.pid, signal.SIGSEGV)
    with pytest.raises(ModelError, match="ended the process that judges, by SIGSEGV"):
        finished(examiner)
    assert answer(examiner, question)[0] is Vote.ACCEPT


def test_an_operator_that_runs_for_ever_holds_up_no_other_case_and_is_accepted_in_time(
    world, examiner, store, endless
):
    judge = MemberRole(world.actor(FIRST_MEMBER, store.url), "test", examiner=examiner)
    second, period = world.w3.eth.get_block("latest")["timestamp"], judge.context.reader.commit_period
    model_id, before, after = endless
    hostile = voting(judge, model_id, 2, second + period)
    hostile = replace(hostile, node_count=1, hi=1, states={0: before, 1: after})
    right = honest(world, judge, 1, second + period)
    late, over = (second + int(share * period) + 1 for share in (PATIENCE, LIMIT))
    wait_until(lambda: votes(judge, right, hostile, second=second) == [(1, Vote.ACCEPT)])
    child = examiner._child
    assert votes(judge, right, hostile, second=late) == [(1, Vote.ACCEPT)] and child.poll() is None
    assert votes(judge, right, hostile, second=over) == [(1, Vote.ACCEPT), (2, Vote.ACCEPT)]
    assert child.poll() == -signal.SIGKILL and "examined for too long" in world.log()


def test_a_few_models_are_held_and_the_one_used_longest_ago_makes_room(bundle, store, monkeypatch):
    loaded = []
    monkeypatch.setattr("tao.model.ModelBundle.load", lambda _, model_id: loaded.append(model_id) or bundle)
    examination = Examination(store)
    for number in (*range(MOST_MODELS), 0, MOST_MODELS, 0, 1):
        examination.bundle(bytes([number]))
    assert [model_id[0] for model_id in loaded] == [*range(MOST_MODELS + 1), 1]
