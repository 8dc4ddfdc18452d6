// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IBondVault } from "../../contracts/interfaces/IBondVault.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { Timestamp } from "../../contracts/types/Types.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";
import { deploy } from "./support/Deploy.sol";

contract CommitteeMembersTest is CommitteeFixture {
    address private constant ALICE = address(0xA11CE);
    address private constant BOB = address(0xB0B);

    function setUp() public override {
        super.setUp();
        vm.deal(ALICE, 100 ether);
    }

    // ---- join

    function test_join_locksTheStakeAndTakesASeat() external {
        vm.expectEmit();
        emit IOperatorCommittee.MemberJoined(ALICE);
        join(ALICE);
        vm.assertEq(committee.stakeOf(ALICE), 10 ether, "stake");
        vm.assertEq(vault.totalLocked(), 10 ether, "locked in the vault");
        vm.assertEq(address(committee).balance, 0, "the committee holds no ether");
        vm.assertEq(committee.memberCount(), 1, "count");
        vm.assertEq(committee.memberAt(0), ALICE, "seat");
        vm.assertTrue(isEligible(ALICE), "eligible");
    }

    function test_join_stakeMinusOrPlusOne_reverts() external {
        for (uint256 sent = 10 ether - 1; sent <= 10 ether + 1; sent += 2) {
            vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.WrongStake.selector, sent, 10 ether));
            vm.prank(ALICE);
            committee.join{ value: sent }();
        }
    }

    function test_join_twice_reverts() external {
        join(ALICE);
        vm.deal(ALICE, 10 ether);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.AlreadyMember.selector, ALICE));
        vm.prank(ALICE);
        committee.join{ value: 10 ether }();
    }

    // ---- leave

    function test_requestLeave_startsTheDelayAndEndsEligibility() external {
        join(ALICE);
        Timestamp leavesAt = Timestamp.wrap(1_001_000);
        vm.expectEmit();
        emit IOperatorCommittee.MemberLeaving(ALICE, leavesAt);
        requestLeave(ALICE);
        vm.assertEq(Timestamp.unwrap(committee.leavesAt(ALICE)), 1_001_000, "leaves at");
        vm.assertFalse(isEligible(ALICE), "eligible");
    }

    function test_requestLeave_twice_reverts() external {
        join(ALICE);
        requestLeave(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.AlreadyLeaving.selector, ALICE));
        requestLeave(ALICE);
    }

    function test_membersOnly_strangers_revert() external {
        bytes memory notMember = abi.encodeWithSelector(IOperatorCommittee.NotMember.selector, STRANGER);
        vm.expectRevert(notMember);
        requestLeave(STRANGER);
        vm.expectRevert(notMember);
        leave(STRANGER);
        vm.deal(STRANGER, 1);
        vm.expectRevert(notMember);
        vm.prank(STRANGER);
        committee.topUp{ value: 1 }();
    }

    function test_leave_withoutAsking_reverts() external {
        join(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.LeaveNotDue.selector, ALICE, 0));
        leave(ALICE);
    }

    function test_leave_atTheDelayMinusOne_reverts_atTheDelay_succeeds() external {
        join(ALICE);
        requestLeave(ALICE);
        vm.warp(1_000_999);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.LeaveNotDue.selector, ALICE, 1_001_000));
        leave(ALICE);
        vm.warp(1_001_000);
        vm.expectEmit();
        emit IOperatorCommittee.MemberLeft(ALICE, 10 ether);
        leave(ALICE);
        vm.assertEq(vault.creditOf(ALICE), 10 ether, "credit");
        vm.assertEq(committee.stakeOf(ALICE), 0, "stake");
        vm.assertEq(committee.memberCount(), 0, "count");
    }

    function test_leave_lastSeatTakesTheFreePlace() external {
        joinMany(4);
        requestLeave(member(1));
        requestLeave(member(3));
        vm.warp(1_001_000);
        leave(member(1));
        vm.assertEq(committee.memberAt(1), member(3), "moved");
        leave(member(3));
        vm.assertEq(committee.memberCount(), 2, "count");
        vm.assertEq(committee.memberAt(0), member(0), "first");
        vm.assertEq(committee.memberAt(1), member(2), "second");
    }

    function test_leave_thenJoin_isANewSeat() external {
        join(ALICE);
        requestLeave(ALICE);
        vm.warp(1_001_000);
        leave(ALICE);
        join(ALICE);
        vm.assertTrue(isEligible(ALICE), "eligible");
        vm.assertEq(Timestamp.unwrap(committee.leavesAt(ALICE)), 0, "not leaving");
        vm.assertEq(committee.stakeOf(ALICE), 10 ether, "stake");
    }

    function test_leave_whileADrawIsPending_reverts() external {
        joinMany(6);
        requestLeave(member(0));
        vm.warp(1_001_000);
        convene(CASE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.StakesFrozen.selector, 1, 0));
        leave(member(0));
        draw(CASE);
        leave(member(0));
    }

    function test_leave_onAPanel_reverts_untilEveryCaseEnds() external {
        join(ALICE);
        convene(CASE);
        convene(OTHER);
        requestLeave(ALICE);
        draw(CASE);
        draw(OTHER);
        vm.warp(1_001_000);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.StakesFrozen.selector, 0, 2));
        leave(ALICE);
        tally(CASE);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.StakesFrozen.selector, 0, 1));
        leave(ALICE);
        tally(OTHER);
        leave(ALICE);
        vm.assertEq(vault.creditOf(ALICE), 2 ether, "what the penalties left");
    }

    function test_leave_withNothingLeft_succeeds() external {
        IOperatorCommittee.Parameters memory p = standard();
        p.noShowPenalty = p.stake;
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, p)));
        join(ALICE);
        penalisePanel(CASE);
        requestLeave(ALICE);
        vm.warp(vm.getBlockTimestamp() + 1000);
        vm.expectEmit();
        emit IOperatorCommittee.MemberLeft(ALICE, 0);
        leave(ALICE);
        vm.assertEq(vault.creditOf(ALICE), 0, "credit");
    }

    // ---- top up

    function test_topUp_restoresExactlyTheStake() external {
        join(ALICE);
        penalisePanel(CASE);
        vm.assertEq(committee.stakeOf(ALICE), 6 ether, "after the penalty");
        vm.assertFalse(isEligible(ALICE), "not drawn below the stake");
        for (uint256 sent = 4 ether - 1; sent <= 4 ether + 1; sent += 2) {
            vm.deal(ALICE, sent);
            vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.WrongStake.selector, sent, 4 ether));
            vm.prank(ALICE);
            committee.topUp{ value: sent }();
        }
        vm.expectEmit();
        emit IOperatorCommittee.StakeToppedUp(ALICE, 10 ether);
        topUp(ALICE, 4 ether);
        vm.assertEq(committee.stakeOf(ALICE), 10 ether, "stake");
        vm.assertTrue(isEligible(ALICE), "drawn again");
    }

    function test_topUp_fullStake_reverts() external {
        join(ALICE);
        vm.deal(ALICE, 1);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.WrongStake.selector, 1, 0));
        vm.prank(ALICE);
        committee.topUp{ value: 1 }();
        vm.expectRevert(IBondVault.EmptyTransfer.selector);
        vm.prank(ALICE);
        committee.topUp();
    }

    function test_topUp_whileLeaving_reverts() external {
        join(ALICE);
        penalisePanel(CASE);
        requestLeave(ALICE);
        vm.deal(ALICE, 4 ether);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.AlreadyLeaving.selector, ALICE));
        vm.prank(ALICE);
        committee.topUp{ value: 4 ether }();
    }

    function test_topUp_whileADrawIsPending_reverts() external {
        join(ALICE);
        penalisePanel(CASE);
        convene(OTHER);
        vm.deal(ALICE, 4 ether);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.StakesFrozen.selector, 1, 0));
        vm.prank(ALICE);
        committee.topUp{ value: 4 ether }();
    }

    function test_locks_ofTwoMembers_areApart() external {
        join(ALICE);
        join(BOB);
        requestLeave(ALICE);
        vm.warp(1_001_000);
        leave(ALICE);
        vm.assertEq(committee.stakeOf(BOB), 10 ether, "the other's stake");
        assertConserved();
    }
}
