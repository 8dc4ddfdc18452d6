"""The committee member's rules."""

import pytest

from tao.protocol import actions, committee
from tao.protocol.views import Phase, Stage, Status, Vote

from .factories import MEMBER, STRANGER, case, claim, dispute, view


class FakeExaminer:
    def __init__(self, verdict=(Vote.REJECT, b"statistics")):
        self.answer, self.asked = verdict, 0

    def verdict(self, dispute):
        self.asked += 1
        return self.answer


def voting(*args, **kwargs):
    return dispute(Phase.VOTE, case=case(*args, **kwargs))


def moves(dispute, me=MEMBER, examiner=None, block=100):
    seen, examiner = view(dispute, block=block), examiner or FakeExaminer()
    found = [committee.serve(each, me, examiner, seen.now, seen.block) for each in committee.parts(seen)]
    return [action for action in found if action is not None]


def test_commits_once_in_the_commit_stage():
    fresh = voting(Stage.COMMIT)
    assert moves(fresh) == [actions.CommitVote(fresh, Vote.REJECT, b"statistics")]
    assert moves(voting(Stage.COMMIT, commitment=b"x" * 32)) == []


def test_reveals_once_what_it_committed():
    committed = voting(Stage.REVEAL, commitment=b"x" * 32)
    assert moves(committed) == [actions.RevealVote(committed, Vote.REJECT, b"statistics")]
    assert moves(voting(Stage.REVEAL, commitment=b"x" * 32, vote=Vote.REJECT)) == []


def test_reveals_nothing_it_did_not_commit():
    assert moves(voting(Stage.REVEAL)) == []


def test_waits_while_the_data_may_still_arrive():
    assert moves(voting(Stage.COMMIT), examiner=FakeExaminer(None)) == []


@pytest.mark.parametrize("stage", [Stage.COMMIT, Stage.REVEAL])
def test_does_not_work_on_cases_of_other_panels(stage):
    examiner = FakeExaminer()
    assert moves(voting(stage), me=STRANGER, examiner=examiner) == [] and examiner.asked == 0


@pytest.mark.parametrize("me", [MEMBER, STRANGER])
def test_anyone_draws_and_settles(me):
    announced = voting(Stage.ANNOUNCED, panel=())
    assert moves(announced, me=me) == [actions.Draw(announced)]
    assert moves(announced, me=me, block=90) == []
    tallying = voting(Stage.TALLYING)
    assert moves(tallying, me=me) == [actions.SettleVote(tallying)]


def test_a_vote_goes_on_after_the_claim_was_refuted_elsewhere():
    def of_refuted(stage, **options):
        return dispute(Phase.VOTE, claim=claim(status=Status.REFUTED), case=case(stage, **options))

    fresh, committed = of_refuted(Stage.COMMIT), of_refuted(Stage.REVEAL, commitment=b"x" * 32)
    assert moves(fresh) == [actions.CommitVote(fresh, Vote.REJECT, b"statistics")]
    assert moves(committed) == [actions.RevealVote(committed, Vote.REJECT, b"statistics")]
    announced, tallying = of_refuted(Stage.ANNOUNCED, panel=()), of_refuted(Stage.TALLYING)
    assert moves(announced) == [actions.Draw(announced)]
    assert moves(tallying) == [actions.SettleVote(tallying)]


def test_salts_differ_by_key_chain_contract_and_case_and_need_no_memory():
    base = (b"key", 1, "0x" + "11" * 20, b"d" * 32)
    variants = [
        (b"yek", *base[1:]),
        (base[0], 2, *base[2:]),
        (*base[:2], "0x" + "22" * 20, base[3]),
        (*base[:3], b"e" * 32),
    ]
    assert committee.salt(*base) == committee.salt(*base)
    assert len({committee.salt(*args) for args in [base, *variants]}) == 5


COMMITTED, REVEALED, ABSENT = (b"x" * 32, Vote.NONE), (b"x" * 32, Vote.ACCEPT), (bytes(32), Vote.NONE)


@pytest.mark.parametrize(
    ("votes", "now", "expected"),
    [
        ([ABSENT, COMMITTED], 10, Stage.COMMIT),
        ([ABSENT, COMMITTED], 11, Stage.REVEAL),
        ([COMMITTED, COMMITTED], 5, Stage.REVEAL),
        ([ABSENT, COMMITTED], 20, Stage.REVEAL),
        ([ABSENT, COMMITTED], 21, Stage.TALLYING),
        ([ABSENT, REVEALED], 11, Stage.TALLYING),
        ([REVEALED, REVEALED], 5, Stage.TALLYING),
        ([COMMITTED, REVEALED], 20, Stage.REVEAL),
        ([ABSENT, ABSENT], 11, Stage.TALLYING),
        ([], 5, Stage.TALLYING),
    ],
)
def test_a_stage_ends_with_its_deadline_or_with_the_last_to_act(votes, now, expected):
    assert committee.stage(10, 20, votes, now) is expected


def test_a_case_without_deadlines_awaits_its_draw():
    assert committee.stage(0, 0, [], 99) is Stage.ANNOUNCED
