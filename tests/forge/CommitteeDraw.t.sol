// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { Timestamp } from "../../contracts/types/Types.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";
import { deploy } from "./support/Deploy.sol";

contract CommitteeDrawTest is CommitteeFixture {
    function test_convene_announcesTheSeedBlock() external {
        vm.expectEmit();
        emit IOperatorCommittee.CaseAnnounced(CASE, 1003);
        convene(CASE);
        vm.assertEq(committee.seedBlockOf(CASE), 1003, "seed block");
        vm.assertEq(committee.pendingDraws(), 1, "pending");
        vm.assertEq(commitEnd(CASE), 0, "no deadline yet");
        assertStage(CASE, IOperatorCommittee.Stage.Announced);
    }

    function test_convene_twice_reverts_evenAfterTheEnd() external {
        convene(CASE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.DuplicateCase.selector, CASE));
        convene(CASE);
        draw(CASE);
        tally(CASE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.DuplicateCase.selector, CASE));
        convene(CASE);
    }

    function test_draw_beforeTheSeedBlockIsMined_reverts() external {
        joinMany(6);
        convene(CASE);
        for (uint256 number = 1002; number <= 1003; ++number) {
            blocks.roll(number);
            vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.SeedNotMined.selector, CASE, 1003));
            committee.draw(CASE);
        }
        blocks.roll(1004);
        committee.draw(CASE);
    }

    function test_draw_byAnyone_seatsFiveDifferentMembers() external {
        joinMany(9);
        convene(CASE);
        blocks.roll(1004);
        vm.prank(STRANGER);
        committee.draw(CASE);
        address[] memory panel = committee.panelOf(CASE);
        vm.assertEq(panel.length, 5, "size");
        uint256 duties = 0;
        for (uint256 i = 0; i < 9; ++i) {
            uint256 duty = committee.dutiesOf(member(i));
            vm.assertEq(duty, contains(panel, member(i)) ? 1 : 0, "duty of the seated only");
            duties += duty;
        }
        vm.assertEq(duties, 5, "five different members");
        vm.assertEq(committee.pendingDraws(), 0, "pending");
        vm.assertEq(commitEnd(CASE), 1_000_100, "commit end");
        vm.assertEq(revealEnd(CASE), 1_000_150, "reveal end");
        assertStage(CASE, IOperatorCommittee.Stage.Commit);
    }

    function test_draw_emitsThePanel() external {
        join(member(0));
        convene(CASE);
        blocks.roll(1004);
        address[] memory panel = new address[](1);
        panel[0] = member(0);
        vm.expectEmit();
        emit IOperatorCommittee.PanelDrawn(CASE, panel, Timestamp.wrap(1_000_100), Timestamp.wrap(1_000_150));
        committee.draw(CASE);
    }

    function test_draw_wrongStage_reverts() external {
        expectWrongStage(CASE, IOperatorCommittee.Stage.None, IOperatorCommittee.Stage.Announced);
        committee.draw(CASE);
        joinMany(6);
        conveneAndDraw(CASE);
        expectWrongStage(CASE, IOperatorCommittee.Stage.Commit, IOperatorCommittee.Stage.Announced);
        committee.draw(CASE);
        vm.warp(revealEnd(CASE) + 1);
        tally(CASE);
        expectWrongStage(CASE, IOperatorCommittee.Stage.Ended, IOperatorCommittee.Stage.Announced);
        committee.draw(CASE);
    }

    function test_draw_noMembers_seatsNobodyAndFindsNoQuorum() external {
        vm.assertEq(conveneAndDraw(CASE).length, 0, "panel");
        assertStage(CASE, IOperatorCommittee.Stage.Tallying);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = tally(CASE);
        assertVerdict(verdict, IOperatorCommittee.Verdict.NoQuorum);
        vm.assertEq(rewarded.length, 0, "rewarded");
    }

    function test_draw_fewerMembersThanSeats_seatsThemAll() external {
        joinMany(4);
        address[] memory panel = conveneAndDraw(CASE);
        vm.assertEq(panel.length, 4, "panel");
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertTrue(contains(panel, member(i)), "seated");
        }
    }

    function test_draw_neverSeatsTheParties(bytes32 seed) external {
        join(PROVER);
        joinMany(5);
        join(CHALLENGER);
        convene(CASE);
        blocks.roll(1004);
        blocks.setBlockhash(1003, keccak256(abi.encode(seed)));
        committee.draw(CASE);
        address[] memory panel = committee.panelOf(CASE);
        vm.assertEq(panel.length, 5, "the five others");
        vm.assertFalse(contains(panel, PROVER) || contains(panel, CHALLENGER), "no party");
    }

    function test_draw_askedToLeaveBeforeTheAnnouncement_isNotDrawn_after_isDrawn() external {
        joinMany(5);
        requestLeave(member(0));
        convene(CASE);
        requestLeave(member(1));
        address[] memory panel = draw(CASE);
        vm.assertEq(panel.length, 4, "panel");
        vm.assertFalse(contains(panel, member(0)), "left before");
        vm.assertTrue(contains(panel, member(1)), "left after");
    }

    function test_draw_joinedAfterTheAnnouncement_isNotDrawn() external {
        joinMany(3);
        convene(CASE);
        join(member(3));
        address[] memory panel = draw(CASE);
        vm.assertEq(panel.length, 3, "panel");
        vm.assertFalse(contains(panel, member(3)), "joined after");
    }

    /// @dev The attack: buy seats in the block in which a case is announced, and ask to leave right after.
    function test_draw_joinedOrToppedUpSinceTheClaim_isNotDrawn() external {
        joinMany(5);
        penalisePanel(OTHER);
        topUp(member(0), 4 ether);
        vm.warp(vm.getBlockTimestamp() + 1);
        Timestamp claimed = Timestamp.wrap(uint64(vm.getBlockTimestamp()));
        topUp(member(1), 4 ether);
        join(member(5));
        vm.warp(vm.getBlockTimestamp() + 1);
        topUp(member(2), 4 ether);
        join(member(6));
        convene(CASE, claimed);
        requestLeave(member(6));
        blocks.roll(committee.seedBlockOf(CASE) + 10_000);
        committee.draw(CASE);
        assertStage(CASE, IOperatorCommittee.Stage.Announced);
        address[] memory panel = draw(CASE);
        vm.assertEq(panel.length, 1, "announced once more, for the same stakes");
        vm.assertEq(panel[0], member(0), "the one whose stake was whole before the claim");
    }

    function test_draw_belowTheStake_isNotDrawn_untilToppedUp() external {
        joinMany(5);
        penalisePanel(OTHER);
        topUp(member(0), 4 ether);
        address[] memory panel = conveneAndDraw(CASE);
        vm.assertEq(panel.length, 1, "panel");
        vm.assertEq(panel[0], member(0), "the one with a full stake");
    }

    /// @dev The attack: with the seed known, move stakes until the panel pleases. Whatever happens between the
    /// announcement and the draw, the panel stays the same.
    function test_draw_nothingAfterTheAnnouncementChangesThePanel(bytes32 seed, uint256 moves) external {
        joinMany(14);
        conveneAndDraw(OTHER);
        vm.warp(revealEnd(OTHER) + 1);
        convene(CASE);
        blocks.roll(committee.seedBlockOf(CASE) + 1);
        blocks.setBlockhash(committee.seedBlockOf(CASE), keccak256(abi.encode(seed)));

        uint256 untouched = vm.snapshotState();
        committee.draw(CASE);
        address[] memory expected = committee.panelOf(CASE);
        vm.revertToState(untouched);

        if (moves & 1 != 0) tally(OTHER);
        if (moves & 2 != 0) join(member(20));
        for (uint256 i = 0; i < 14; ++i) {
            if ((moves >> (8 + i)) & 1 != 0) requestLeave(member(i));
        }
        if (moves & 4 != 0) join(member(21));
        if (moves & 8 != 0) convene(caseOf(1));
        committee.draw(CASE);
        address[] memory panel = committee.panelOf(CASE);
        vm.assertEq(keccak256(abi.encode(panel)), keccak256(abi.encode(expected)), "panel");
    }

    function test_draw_twoCasesOfOneSeedBlock_differ() external {
        joinMany(30);
        convene(CASE);
        convene(OTHER);
        bytes32 one = keccak256(abi.encode(draw(CASE)));
        vm.assertTrue(one != keccak256(abi.encode(draw(OTHER))), "panels");
    }

    /// @dev 400 draws of five out of ten: 200 expected each, standard deviation 10.
    function test_draw_everyMemberIsDrawnAboutEqually() external {
        joinMany(10);
        join(PROVER);
        convene(CASE);
        blocks.roll(1004);
        uint256 start = vm.snapshotState();
        uint256[10] memory counts;
        for (uint256 s = 0; s < 400; ++s) {
            blocks.setBlockhash(1003, keccak256(abi.encode("seed", s)));
            committee.draw(CASE);
            address[] memory panel = committee.panelOf(CASE);
            vm.revertToState(start);
            for (uint256 i = 0; i < panel.length; ++i) {
                ++counts[uint160(panel[i]) - uint160(member(0))];
            }
        }
        uint256 total = 0;
        for (uint256 i = 0; i < 10; ++i) {
            vm.assertGt(counts[i], 150, "too rare");
            vm.assertLt(counts[i], 250, "too frequent");
            total += counts[i];
        }
        vm.assertEq(total, 2000, "five each time");
    }

    function test_draw_gas_doesNotGrowWithTheMembers() external {
        joinMany(20);
        uint256 few = _gasOfDraw(1);
        for (uint256 i = 20; i < 500; ++i) {
            join(member(i));
        }
        uint256 many = _gasOfDraw(2);
        vm.assertLt(many, 500_000, "gas of a draw from 500");
        vm.assertLt(many, few + few / 20, "500 against 20 members");
    }

    /// @dev The dearest draw: the largest panel, and nobody eligible among many.
    function test_draw_gas_worstCaseIsBounded() external {
        IOperatorCommittee.Parameters memory p = standard();
        (p.size, p.quorum) = (31, 16);
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, p)));
        joinMany(500);
        for (uint256 i = 0; i < 500; ++i) {
            requestLeave(member(i));
        }
        vm.assertLt(_gasOfDraw(1), 1_500_000, "all attempts in vain");
        vm.assertEq(committee.panelOf(caseOf(1)).length, 0, "panel");
    }

    function test_draw_gas_largestPanelIsBounded() external {
        IOperatorCommittee.Parameters memory p = standard();
        (p.size, p.quorum) = (31, 16);
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, p)));
        joinMany(500);
        vm.assertLt(_gasOfDraw(1), 2_500_000, "31 seats");
        vm.assertEq(committee.panelOf(caseOf(1)).length, 31, "panel");
    }

    function _gasOfDraw(uint256 i) private returns (uint256 used) {
        convene(caseOf(i));
        blocks.roll(committee.seedBlockOf(caseOf(i)) + 1);
        blocks.cool(address(committee));
        uint256 left = gasleft();
        committee.draw(caseOf(i));
        used = left - gasleft();
    }
}
