// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { BondVault } from "../../contracts/BondVault.sol";
import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { DisputeId, Timestamp } from "../../contracts/types/Types.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";

/// @dev Members and a game that move at random, mostly where a move is possible; it counts what succeeded.
contract CommitteeHandler is CommitteeFixture {
    uint256 public constant ACTORS = 12;
    DisputeId[] public cases;
    uint256 public deposited;
    uint256 public calls;
    uint256 public succeeded;
    mapping(bytes32 move => uint256) public count;
    bool public movedWhileFrozen;
    bool public refusedUnfrozen;

    constructor() {
        setUp();
        for (uint256 i = 0; i < 8; ++i) {
            join(member(i));
        }
        deposited = 80 ether;
    }

    /// @dev Counts the call and mixes its choice, as the fuzzer prefers small numbers and those it has seen.
    function _mixed(uint256 choice) private returns (uint256) {
        return uint256(keccak256(abi.encode(++calls, choice)));
    }

    function contracts() external view returns (OperatorCommittee, BondVault) {
        return (committee, vault);
    }

    function caseCount() external view returns (uint256) {
        return cases.length;
    }

    /// @dev What a member in this position would try next, frozen or not.
    function stir(uint256 who, uint256 choice) external {
        choice = _mixed(choice);
        address actor = member(who % ACTORS);
        uint256 held = committee.stakeOf(actor);
        uint256 leavesAt = Timestamp.unwrap(committee.leavesAt(actor));
        if (vault.creditOf(actor) != 0 && choice % 2 == 0) {
            vm.prank(actor);
            deposited -= vault.withdraw(payable(actor));
            _done("withdraw");
        } else if (leavesAt != 0) {
            _leave(actor, leavesAt);
        } else if (!_isMember(actor)) {
            join(actor);
            deposited += 10 ether;
            _done("join");
        } else if (held < 10 ether) {
            _topUp(actor, 10 ether - held);
        } else if (choice % 4 == 0) {
            requestLeave(actor);
            _done("requestLeave");
        }
    }

    /// @dev A new case, or whatever a case that is still open needs next.
    function play(uint256 which, uint256 choice) external {
        choice = _mixed(choice);
        DisputeId[] memory open = _openCases();
        if (open.length == 0 || (open.length < 4 && choice % 5 == 0)) return _convene(choice);
        DisputeId caseId = open[which % open.length];
        IOperatorCommittee.Stage stage = committee.stageOf(caseId);
        if (stage == IOperatorCommittee.Stage.Announced) {
            blocks.roll(blocks.getBlockNumber() + 4);
            committee.draw(caseId);
            _done("draw");
        } else if (stage == IOperatorCommittee.Stage.Tallying) {
            tally(caseId);
            _done("tally");
        } else {
            _vote(caseId, stage, choice);
        }
    }

    function _convene(uint256 choice) private {
        DisputeId caseId = caseOf(cases.length);
        Timestamp since = justNow();
        vm.prank(GAME);
        committee.convene(caseId, member(choice % ACTORS), CHALLENGER, since);
        cases.push(caseId);
        _done("convene");
    }

    function _leave(address actor, uint256 leavesAt) private {
        if (vm.getBlockTimestamp() < leavesAt) vm.warp(leavesAt);
        bool frozen = committee.pendingDraws() != 0 || committee.dutiesOf(actor) != 0;
        vm.prank(actor);
        try committee.leave() {
            movedWhileFrozen = movedWhileFrozen || frozen;
            _done("leave");
        } catch {
            refusedUnfrozen = refusedUnfrozen || !frozen;
        }
    }

    function _topUp(address actor, uint256 missing) private {
        bool frozen = committee.pendingDraws() != 0;
        vm.deal(actor, missing);
        vm.prank(actor);
        try committee.topUp{ value: missing }() {
            deposited += missing;
            movedWhileFrozen = movedWhileFrozen || frozen;
            _done("topUp");
        } catch {
            refusedUnfrozen = refusedUnfrozen || !frozen;
        }
    }

    /// @dev All but a few act; then time passes.
    function _vote(DisputeId caseId, IOperatorCommittee.Stage stage, uint256 choice) private {
        address[] memory panel = committee.panelOf(caseId);
        for (uint256 i = 0; i < panel.length; ++i) {
            if ((choice >> (8 * i)) % 4 == 0) continue;
            IOperatorCommittee.Vote vote = uint256(keccak256(abi.encode(caseId, i))) % 4 == 0 ? REJECT : ACCEPT;
            (bytes32 commitment, IOperatorCommittee.Vote cast) = committee.voteOf(caseId, panel[i]);
            if (stage == IOperatorCommittee.Stage.Commit && commitment == 0) {
                commit(caseId, panel[i], vote);
                _done("commit");
            } else if (stage == IOperatorCommittee.Stage.Reveal && commitment != 0 && cast == ABSENT) {
                reveal(caseId, panel[i], vote);
                _done("reveal");
            }
        }
        vm.warp(1 + (stage == IOperatorCommittee.Stage.Commit ? commitEnd(caseId) : revealEnd(caseId)));
    }

    function _isMember(address who) private view returns (bool) {
        for (uint256 i = 0; i < committee.memberCount(); ++i) {
            if (committee.memberAt(i) == who) return true;
        }
        return false;
    }

    function _openCases() private view returns (DisputeId[] memory open) {
        open = new DisputeId[](cases.length);
        uint256 found = 0;
        for (uint256 i = 0; i < cases.length; ++i) {
            if (committee.stageOf(cases[i]) != IOperatorCommittee.Stage.Ended) open[found++] = cases[i];
        }
        assembly ("memory-safe") {
            mstore(open, found)
        }
    }

    function _done(bytes32 move) private {
        ++succeeded;
        ++count[move];
    }
}

/// @dev What forge asks for in `targetSelectors`.
struct FuzzSelector {
    address target;
    bytes4[] selectors;
}

/// @dev Properties that hold after every move.
contract CommitteeInvariantTest is CommitteeFixture {
    CommitteeHandler private _handler;

    function setUp() public override {
        _handler = new CommitteeHandler();
        (committee, vault) = _handler.contracts();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        bytes4[] memory moves = new bytes4[](2);
        (moves[0], moves[1]) = (_handler.stir.selector, _handler.play.selector);
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(_handler), moves);
    }

    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(_handler);
    }

    function invariant_etherIsConserved() external view {
        assertConserved();
        vm.assertEq(address(vault).balance, _handler.deposited(), "balance = deposited - withdrawn");
        vm.assertEq(address(committee).balance, 0, "the committee holds no ether");
    }

    function invariant_locksAreTheMembersStakes() external view {
        uint256 sum = 0;
        uint256 stake = standard().stake;
        for (uint256 i = 0; i < committee.memberCount(); ++i) {
            uint256 held = committee.stakeOf(committee.memberAt(i));
            vm.assertLe(held, stake, "no more than one stake");
            sum += held;
        }
        vm.assertEq(vault.totalLocked(), sum, "locked");
    }

    function invariant_eligibleMembersHoldAFullStake() external view {
        for (uint256 i = 0; i < committee.memberCount(); ++i) {
            address who = committee.memberAt(i);
            bool full = committee.stakeOf(who) == standard().stake;
            bool leaving = Timestamp.unwrap(committee.leavesAt(who)) != 0;
            vm.assertTrue(isEligible(who) == (full && !leaving), "eligible");
        }
    }

    function invariant_dutiesAndPendingDrawsMatchTheCases() external view {
        uint256 pending = 0;
        uint256 seated = 0;
        for (uint256 i = 0; i < _handler.caseCount(); ++i) {
            DisputeId caseId = _handler.cases(i);
            IOperatorCommittee.Stage stage = committee.stageOf(caseId);
            if (stage == IOperatorCommittee.Stage.Ended) continue;
            if (stage == IOperatorCommittee.Stage.Announced) ++pending;
            seated += committee.panelOf(caseId).length;
        }
        uint256 duties = 0;
        for (uint256 i = 0; i < committee.memberCount(); ++i) {
            duties += committee.dutiesOf(committee.memberAt(i));
        }
        vm.assertEq(committee.pendingDraws(), pending, "pending draws");
        vm.assertEq(duties, seated, "duties of members = seats of open cases");
    }

    function invariant_stakesMoveExactlyWhenNotFrozen() external view {
        vm.assertFalse(_handler.movedWhileFrozen(), "left or topped up while frozen");
        vm.assertFalse(_handler.refusedUnfrozen(), "refused though nothing is frozen");
    }

    /// @dev A run whose moves nearly all fail would show nothing.
    function afterInvariant() external view {
        if (_handler.calls() < 60) return;
        vm.assertGe(_handler.succeeded(), _handler.calls() / 3, "moves that succeeded");
        vm.assertGe(_handler.count("draw"), 1, "panels drawn");
        vm.assertGe(_handler.count("commit"), 1, "votes committed");
        vm.assertGe(_handler.count("tally"), 1, "cases ended");
    }
}
