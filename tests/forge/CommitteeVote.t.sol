// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";
import { deploy } from "./support/Deploy.sol";

contract CommitteeVoteTest is CommitteeFixture {
    address[] private _panel;

    function setUp() public override {
        super.setUp();
        joinMany(5);
        _panel = conveneAndDraw(CASE);
    }

    // ---- commit

    function test_commit_isRecorded() external {
        bytes32 hash = committee.voteHash(CASE, _panel[0], ACCEPT, "", "salt");
        vm.expectEmit();
        emit IOperatorCommittee.VoteCommitted(CASE, _panel[0]);
        vm.prank(_panel[0]);
        committee.commit(CASE, hash);
        (bytes32 commitment, IOperatorCommittee.Vote vote) = committee.voteOf(CASE, _panel[0]);
        vm.assertEq(commitment, hash, "commitment");
        vm.assertEq(uint256(vote), uint256(ABSENT), "vote");
    }

    function test_commit_atTheDeadlineMinusOneAndZero_succeeds() external {
        vm.warp(commitEnd(CASE) - 1);
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE));
        commit(CASE, _panel[1], ACCEPT);
    }

    function test_commit_atTheDeadlinePlusOne_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        _expectStage(IOperatorCommittee.Stage.Reveal, IOperatorCommittee.Stage.Commit);
        vm.prank(_panel[1]);
        committee.commit(CASE, "late");
    }

    function test_commit_beforeTheDraw_reverts() external {
        convene(OTHER);
        expectWrongStage(OTHER, IOperatorCommittee.Stage.Announced, IOperatorCommittee.Stage.Commit);
        vm.prank(_panel[0]);
        committee.commit(OTHER, "early");
    }

    function test_commit_notOnThePanel_reverts() external {
        join(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.NotOnPanel.selector, CASE, STRANGER));
        vm.prank(STRANGER);
        committee.commit(CASE, "anything");
    }

    function test_commit_twice_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.AlreadyCommitted.selector, CASE, _panel[0]));
        vm.prank(_panel[0]);
        committee.commit(CASE, "another");
    }

    function test_commit_zero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.NothingCommitted.selector, CASE, _panel[0]));
        vm.prank(_panel[0]);
        committee.commit(CASE, 0);
    }

    // ---- reveal

    function test_reveal_isRecordedWithItsStatistics() external {
        commit(CASE, _panel[0], REJECT);
        vm.warp(commitEnd(CASE) + 1);
        vm.expectEmit();
        emit IOperatorCommittee.VoteRevealed(CASE, _panel[0], REJECT, statisticsOf(_panel[0]));
        reveal(CASE, _panel[0], REJECT);
        (, IOperatorCommittee.Vote vote) = committee.voteOf(CASE, _panel[0]);
        vm.assertEq(uint256(vote), uint256(REJECT), "vote");
    }

    function test_reveal_atTheCommitDeadline_reverts_oneSecondLater_succeeds() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE));
        _expectStage(IOperatorCommittee.Stage.Commit, IOperatorCommittee.Stage.Reveal);
        _reveal(_panel[0], ACCEPT, statisticsOf(_panel[0]), saltOf(_panel[0]));
        vm.warp(commitEnd(CASE) + 1);
        reveal(CASE, _panel[0], ACCEPT);
    }

    function test_reveal_atItsDeadlineMinusOneAndZero_succeeds_plusOne_reverts() external {
        for (uint256 i = 0; i < 3; ++i) {
            commit(CASE, _panel[i], ACCEPT);
        }
        vm.warp(revealEnd(CASE) - 1);
        reveal(CASE, _panel[0], ACCEPT);
        vm.warp(revealEnd(CASE));
        reveal(CASE, _panel[1], ACCEPT);
        vm.warp(revealEnd(CASE) + 1);
        _expectStage(IOperatorCommittee.Stage.Tallying, IOperatorCommittee.Stage.Reveal);
        _reveal(_panel[2], ACCEPT, statisticsOf(_panel[2]), saltOf(_panel[2]));
    }

    function test_reveal_beginsEarlyOnceAllHaveCommitted() external {
        for (uint256 i = 0; i < 5; ++i) {
            assertStage(CASE, IOperatorCommittee.Stage.Commit);
            commit(CASE, _panel[i], ACCEPT);
        }
        assertStage(CASE, IOperatorCommittee.Stage.Reveal);
        for (uint256 i = 0; i < 5; ++i) {
            assertStage(CASE, IOperatorCommittee.Stage.Reveal);
            reveal(CASE, _panel[i], ACCEPT);
        }
        assertStage(CASE, IOperatorCommittee.Stage.Tallying);
    }

    /// @dev An early start does not bring the end forward: who is asleep keeps the announced deadline.
    function test_reveal_begunEarly_keepsItsDeadline() external {
        for (uint256 i = 0; i < 5; ++i) {
            commit(CASE, _panel[i], ACCEPT);
        }
        reveal(CASE, _panel[0], ACCEPT);
        vm.warp(revealEnd(CASE));
        reveal(CASE, _panel[1], ACCEPT);
    }

    function test_stage_nobodyCommitted_isTallyingAfterTheCommitDeadline() external {
        vm.warp(commitEnd(CASE));
        assertStage(CASE, IOperatorCommittee.Stage.Commit);
        vm.warp(commitEnd(CASE) + 1);
        assertStage(CASE, IOperatorCommittee.Stage.Tallying);
    }

    function test_stage_allCommitmentsOpen_isTallyingThoughOthersAreAbsent() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        reveal(CASE, _panel[0], ACCEPT);
        assertStage(CASE, IOperatorCommittee.Stage.Tallying);
    }

    /// @dev The attack: read the first commitment, commit the same, reveal what the first one reveals.
    function test_reveal_copiedCommitment_reverts() external {
        commit(CASE, _panel[0], REJECT);
        (bytes32 copied,) = committee.voteOf(CASE, _panel[0]);
        vm.prank(_panel[1]);
        committee.commit(CASE, copied);
        vm.warp(commitEnd(CASE) + 1);
        reveal(CASE, _panel[0], REJECT);
        bytes32 given = committee.voteHash(CASE, _panel[1], REJECT, statisticsOf(_panel[0]), saltOf(_panel[0]));
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.CommitmentMismatch.selector, given, copied));
        _reveal(_panel[1], REJECT, statisticsOf(_panel[0]), saltOf(_panel[0]));
    }

    function test_reveal_anythingButWhatWasCommitted_reverts() external {
        address who = _panel[0];
        commit(CASE, who, REJECT);
        vm.warp(commitEnd(CASE) + 1);
        _expectMismatch(ACCEPT, statisticsOf(who), saltOf(who));
        _reveal(who, ACCEPT, statisticsOf(who), saltOf(who));
        _expectMismatch(REJECT, "other", saltOf(who));
        _reveal(who, REJECT, "other", saltOf(who));
        _expectMismatch(REJECT, statisticsOf(who), "other");
        _reveal(who, REJECT, statisticsOf(who), "other");
    }

    function test_reveal_onAnotherChain_reverts() external {
        commit(CASE, _panel[0], REJECT);
        vm.warp(commitEnd(CASE) + 1);
        blocks.chainId(block.chainid + 1);
        _expectMismatch(REJECT, statisticsOf(_panel[0]), saltOf(_panel[0]));
        reveal(CASE, _panel[0], REJECT);
    }

    function test_voteHash_bindsContractAndCase() external {
        bytes32 here = committee.voteHash(CASE, _panel[0], ACCEPT, "", "");
        vm.assertTrue(here != committee.voteHash(OTHER, _panel[0], ACCEPT, "", ""), "case");
        OperatorCommittee elsewhere =
            OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, standard())));
        vm.assertTrue(here != elsewhere.voteHash(CASE, _panel[0], ACCEPT, "", ""), "contract");
    }

    function test_voteHash_equalsItsDefinition(address who, bytes calldata statistics, bytes32 salt) external view {
        bytes32 expected = keccak256(
            abi.encode(
                keccak256("TAO.vote.v1"),
                block.chainid,
                address(committee),
                CASE,
                who,
                uint8(2),
                keccak256(statistics),
                salt
            )
        );
        vm.assertEq(committee.voteHash(CASE, who, REJECT, statistics, salt), expected, "hash");
    }

    function test_reveal_withoutCommitment_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.NothingCommitted.selector, CASE, _panel[1]));
        reveal(CASE, _panel[1], ACCEPT);
    }

    function test_reveal_notOnThePanel_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.NotOnPanel.selector, CASE, STRANGER));
        reveal(CASE, STRANGER, ACCEPT);
    }

    function test_reveal_twice_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        commit(CASE, _panel[1], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        reveal(CASE, _panel[0], ACCEPT);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.AlreadyRevealed.selector, CASE, _panel[0]));
        reveal(CASE, _panel[0], ACCEPT);
    }

    function test_reveal_noVote_reverts() external {
        commit(CASE, _panel[0], ABSENT);
        vm.warp(commitEnd(CASE) + 1);
        vm.expectRevert(IOperatorCommittee.InvalidVote.selector);
        reveal(CASE, _panel[0], ABSENT);
    }

    function test_reveal_voteOutsideTheEnum_reverts() external {
        commit(CASE, _panel[0], ACCEPT);
        vm.warp(commitEnd(CASE) + 1);
        vm.prank(_panel[0]);
        (bool done,) = address(committee)
            .call(abi.encodeWithSelector(committee.reveal.selector, CASE, uint8(3), bytes(""), bytes32(0)));
        vm.assertFalse(done, "vote 3");
    }

    function test_reveal_statisticsOfTheLimit_succeeds_oneMore_reverts() external {
        bytes memory longest = new bytes(1024);
        bytes memory longer = new bytes(1025);
        bytes32 first = committee.voteHash(CASE, _panel[0], ACCEPT, longest, "");
        bytes32 second = committee.voteHash(CASE, _panel[1], ACCEPT, longer, "");
        vm.prank(_panel[0]);
        committee.commit(CASE, first);
        vm.prank(_panel[1]);
        committee.commit(CASE, second);
        vm.warp(commitEnd(CASE) + 1);
        _reveal(_panel[0], ACCEPT, longest, "");
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.StatisticsTooLong.selector, 1025, 1024));
        _reveal(_panel[1], ACCEPT, longer, "");
    }

    function _reveal(address who, IOperatorCommittee.Vote vote, bytes memory statistics, bytes32 salt) private {
        vm.prank(who);
        committee.reveal(CASE, vote, statistics, salt);
    }

    function _expectMismatch(IOperatorCommittee.Vote vote, bytes memory statistics, bytes32 salt) private {
        (bytes32 commitment,) = committee.voteOf(CASE, _panel[0]);
        bytes32 given = committee.voteHash(CASE, _panel[0], vote, statistics, salt);
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.CommitmentMismatch.selector, given, commitment));
    }

    function _expectStage(IOperatorCommittee.Stage stage, IOperatorCommittee.Stage required) private {
        expectWrongStage(CASE, stage, required);
    }
}
