// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { Timestamp } from "../../contracts/types/Types.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";
import { deploy } from "./support/Deploy.sol";

contract CommitteeTallyTest is CommitteeFixture {
    function setUp() public override {
        super.setUp();
        joinMany(5);
    }

    // ---- who and when

    function test_gameOnly_others_revert() external {
        bytes memory refusal = abi.encodeWithSelector(IOperatorCommittee.NotDisputeGame.selector, address(this));
        Timestamp since = justNow();
        vm.expectRevert(refusal);
        committee.convene(CASE, PROVER, CHALLENGER, since);
        vm.expectRevert(refusal);
        committee.tally(CASE);
    }

    function test_tally_beforeItsTime_reverts() external {
        expectWrongStage(CASE, IOperatorCommittee.Stage.None, IOperatorCommittee.Stage.Tallying);
        tally(CASE);
        convene(CASE);
        expectWrongStage(CASE, IOperatorCommittee.Stage.Announced, IOperatorCommittee.Stage.Tallying);
        tally(CASE);
        address[] memory panel = draw(CASE);
        commit(CASE, panel[0], ACCEPT);
        vm.warp(commitEnd(CASE));
        expectWrongStage(CASE, IOperatorCommittee.Stage.Commit, IOperatorCommittee.Stage.Tallying);
        tally(CASE);
        vm.warp(revealEnd(CASE));
        expectWrongStage(CASE, IOperatorCommittee.Stage.Reveal, IOperatorCommittee.Stage.Tallying);
        tally(CASE);
        vm.warp(revealEnd(CASE) + 1);
        tally(CASE);
        expectWrongStage(CASE, IOperatorCommittee.Stage.Ended, IOperatorCommittee.Stage.Tallying);
        tally(CASE);
    }

    function test_tally_whenAllHaveRevealed_needsNoWaiting() external {
        address[] memory panel = conveneAndDraw(CASE);
        for (uint256 i = 0; i < 5; ++i) {
            commit(CASE, panel[i], REJECT);
        }
        for (uint256 i = 0; i < 5; ++i) {
            reveal(CASE, panel[i], REJECT);
        }
        (IOperatorCommittee.Verdict verdict,) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.Reject);
    }

    // ---- verdicts

    function test_tally_strictMajorityRejects() external {
        address[] memory panel = vote5(CASE, [REJECT, ACCEPT, REJECT, REJECT, ACCEPT]);
        vm.expectEmit();
        emit IOperatorCommittee.CaseTallied(CASE, IOperatorCommittee.Verdict.Reject, 2, 3);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.Reject);
        vm.assertEq(rewarded.length, 3, "rewarded");
        vm.assertEq(rewarded[0], panel[0], "first");
        vm.assertEq(rewarded[1], panel[2], "second");
        vm.assertEq(rewarded[2], panel[3], "third");
        assertStage(CASE, IOperatorCommittee.Stage.Ended);
        vm.assertEq(vault.totalBurned(), 0, "a margin of one costs the minority nothing");
    }

    function test_tally_tieAccepts() external {
        address[] memory panel = vote5(CASE, [REJECT, ACCEPT, REJECT, ABSENT, ACCEPT]);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.Accept);
        vm.assertEq(rewarded.length, 2, "who accepted");
        vm.assertTrue(contains(rewarded, panel[1]) && contains(rewarded, panel[4]), "who accepted");
        vm.assertEq(vault.totalBurned(), 4 ether, "only the absent pays");
    }

    function test_tally_quorumExactly_decides_oneFewer_doesNot() external {
        vote5(CASE, [REJECT, ABSENT, REJECT, ABSENT, REJECT]);
        (IOperatorCommittee.Verdict verdict,) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.Reject);
        for (uint256 i = 0; i < 5; ++i) {
            address who = member(i);
            if (committee.stakeOf(who) < 10 ether) topUp(who, 4 ether);
        }
        vote5(OTHER, [REJECT, ABSENT, REJECT, ABSENT, ABSENT]);
        (verdict,) = tally(OTHER);
        assertVerdict(verdict, IOperatorCommittee.Verdict.NoQuorum);
    }

    function test_tally_tooFewSeated_isNoQuorum_andCostsNobody() external {
        for (uint256 i = 0; i < 3; ++i) {
            requestLeave(member(i));
        }
        address[] memory panel = conveneAndDraw(CASE);
        vm.assertEq(panel.length, 2, "panel");
        commit(CASE, panel[0], REJECT);
        commit(CASE, panel[1], REJECT);
        reveal(CASE, panel[0], REJECT);
        reveal(CASE, panel[1], REJECT);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.NoQuorum);
        vm.assertEq(rewarded.length, 0, "rewarded");
        vm.assertEq(vault.totalLocked(), 50 ether, "stakes");
    }

    // ---- penalties

    function test_tally_minorityPays_fromTheMarginOn() external {
        address[] memory panel = vote5(CASE, [ACCEPT, ACCEPT, REJECT, ACCEPT, ACCEPT]);
        vm.expectEmit();
        emit IOperatorCommittee.MemberPenalised(CASE, panel[2], 2 ether);
        tally(CASE);
        vm.assertEq(committee.stakeOf(panel[2]), 8 ether, "stake");
        vm.assertFalse(isEligible(panel[2]), "below the stake");
        vm.assertEq(vault.totalBurned(), 2 ether, "burned");
    }

    function test_tally_minorityPaysNothing_belowTheMargin() external {
        address[] memory panel = vote5(CASE, [ACCEPT, ACCEPT, REJECT, ACCEPT, ABSENT]);
        tally(CASE);
        vm.assertEq(committee.stakeOf(panel[2]), 10 ether, "a margin of two");
        vm.assertEq(committee.stakeOf(panel[4]), 6 ether, "the absent");
        vm.assertTrue(isEligible(panel[2]), "still drawn");
    }

    function test_tally_committedButNotRevealed_paysAsAbsent() external {
        address[] memory panel = conveneAndDraw(CASE);
        for (uint256 i = 0; i < 5; ++i) {
            commit(CASE, panel[i], ACCEPT);
        }
        for (uint256 i = 0; i < 4; ++i) {
            reveal(CASE, panel[i], ACCEPT);
        }
        vm.warp(revealEnd(CASE) + 1);
        vm.expectEmit();
        emit IOperatorCommittee.MemberPenalised(CASE, panel[4], 4 ether);
        tally(CASE);
        vm.assertEq(committee.stakeOf(panel[4]), 6 ether, "stake");
    }

    function test_tally_noQuorum_absentPayThePresentUpToOneFee() external {
        address[] memory panel = vote5(CASE, [ABSENT, ACCEPT, ABSENT, REJECT, ABSENT]);
        tally(CASE);
        for (uint256 i = 0; i < 5; ++i) {
            vm.assertEq(committee.stakeOf(panel[i]), i % 2 == 0 ? 6 ether : 10 ether, "stake");
            vm.assertEq(vault.creditOf(panel[i]), i % 2 == 0 ? 0 : 0.3 ether, "credit");
        }
        vm.assertEq(vault.totalBurned(), 12 ether - 0.6 ether, "the rest is burned");
        assertConserved();
    }

    function test_tally_noQuorum_nobodyPresent_burnsAll() external {
        vote5(CASE, [ABSENT, ABSENT, ABSENT, ABSENT, ABSENT]);
        tally(CASE);
        vm.assertEq(vault.totalBurned(), 20 ether, "burned");
        vm.assertEq(vault.totalCredited(), 0, "credited");
    }

    function test_tally_noQuorum_penaltiesBelowTheFees_arePaidOutWhole() external {
        IOperatorCommittee.Parameters memory p = standard();
        (p.noShowPenalty, p.minorityPenalty) = (0.1 ether, 0);
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, p)));
        for (uint256 i = 10; i < 15; ++i) {
            join(member(i));
        }
        address[] memory panel = vote5(CASE, [ACCEPT, ABSENT, ABSENT, ABSENT, ACCEPT]);
        tally(CASE);
        vm.assertEq(vault.creditOf(panel[0]), 0.15 ether, "half of three penalties");
        vm.assertEq(vault.creditOf(panel[4]), 0.15 ether, "the other half");
        vm.assertEq(vault.totalBurned(), 0, "burned");
    }

    /// @dev Seated on four panels, absent from all: 4 + 4 + 2 + 0 of a stake of 10.
    function test_tally_penaltiesTakeNoMoreThanIsLeft() external {
        for (uint256 i = 0; i < 4; ++i) {
            convene(caseOf(i));
        }
        for (uint256 i = 0; i < 4; ++i) {
            draw(caseOf(i));
        }
        vm.warp(revealEnd(caseOf(3)) + 1);
        uint256[4] memory left = [uint256(6 ether), 2 ether, 0, 0];
        for (uint256 i = 0; i < 4; ++i) {
            tally(caseOf(i));
            vm.assertEq(committee.stakeOf(member(0)), left[i], "stake");
            vm.assertEq(committee.dutiesOf(member(0)), 3 - i, "duties");
        }
        vm.assertEq(vault.totalBurned(), 50 ether, "five whole stakes");
        topUp(member(0), 10 ether);
        vm.assertTrue(isEligible(member(0)), "restored from nothing");
    }

    /// @dev Every way five members can vote, against the rules written out once more.
    function test_tally_anyVotes_followTheRules(uint256 choice) external {
        choice = bound(choice, 0, 242);
        IOperatorCommittee.Vote[5] memory votes;
        uint256[3] memory count;
        for (uint256 i = 0; i < 5; ++i) {
            votes[i] = IOperatorCommittee.Vote(choice % 3);
            ++count[choice % 3];
            choice /= 3;
        }
        address[] memory panel = vote5(CASE, votes);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = tally(CASE);

        (uint256 absent, uint256 accepts, uint256 rejects) = (count[0], count[1], count[2]);
        bool decided = absent <= 2;
        bool rejected = decided && rejects > accepts;
        IOperatorCommittee.Verdict expected = !decided
            ? IOperatorCommittee.Verdict.NoQuorum
            : rejected ? IOperatorCommittee.Verdict.Reject : IOperatorCommittee.Verdict.Accept;
        assertVerdict(verdict, expected);
        vm.assertEq(rewarded.length, !decided ? 0 : rejected ? rejects : accepts, "rewarded");
        bool clear = decided && (accepts >= rejects + 3 || rejects >= accepts + 3);
        for (uint256 i = 0; i < 5; ++i) {
            bool winner = decided && votes[i] == (rejected ? REJECT : ACCEPT);
            uint256 cost = votes[i] == ABSENT ? 4 ether : clear && !winner ? 2 ether : 0;
            vm.assertTrue(contains(rewarded, panel[i]) == winner, "rewarded are the winners");
            vm.assertEq(committee.stakeOf(panel[i]), 10 ether - cost, "stake");
            vm.assertEq(vault.creditOf(panel[i]), !decided && votes[i] != ABSENT ? 0.3 ether : 0, "credit");
            vm.assertTrue(isEligible(panel[i]) == (cost == 0), "eligible");
            vm.assertEq(committee.dutiesOf(panel[i]), 0, "released");
        }
        assertConserved();
    }

    function test_tally_gas_largestPanelIsBounded() external {
        IOperatorCommittee.Parameters memory p = standard();
        (p.size, p.quorum) = (31, 16);
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, p)));
        for (uint256 i = 10; i < 41; ++i) {
            join(member(i));
        }
        address[] memory panel = conveneAndDraw(CASE);
        for (uint256 i = 0; i < 15; ++i) {
            commit(CASE, panel[i], ACCEPT);
        }
        vm.warp(commitEnd(CASE) + 1);
        for (uint256 i = 0; i < 15; ++i) {
            reveal(CASE, panel[i], ACCEPT);
        }
        blocks.cool(address(committee));
        blocks.cool(address(vault));
        uint256 left = gasleft();
        tally(CASE);
        vm.assertLt(left - gasleft(), 3_000_000, "16 absent pay 15 present");
        assertConserved();
    }
}
