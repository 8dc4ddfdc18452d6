// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { BondVault } from "../../../contracts/BondVault.sol";
import { OperatorCommittee } from "../../../contracts/OperatorCommittee.sol";
import { IOperatorCommittee } from "../../../contracts/interfaces/IOperatorCommittee.sol";
import { DisputeId, Duration, Timestamp } from "../../../contracts/types/Types.sol";
import { Cheats } from "./Cheats.sol";
import { deploy } from "../support/Deploy.sol";

/// @dev The cheat codes about blocks and code, beside those of Cheats.
interface VmBlocks {
    function roll(uint256 number) external;
    function getBlockNumber() external view returns (uint256);
    function setBlockhash(uint256 number, bytes32 hash) external;
    function etch(address target, bytes calldata code) external;
    function store(address target, bytes32 slot, bytes32 value) external;
    function cool(address target) external;
    function chainId(uint256 id) external;
}

/// @dev A committee of five seats per case under a game that is an ordinary account.
abstract contract CommitteeFixture is Cheats {
    VmBlocks internal constant blocks = VmBlocks(address(vm));

    address internal constant GAME = address(0x6A4E);
    address internal constant PROVER = address(0x9407E4);
    address internal constant CHALLENGER = address(0xC4A1);
    address internal constant STRANGER = address(0x57A);
    DisputeId internal constant CASE = DisputeId.wrap(keccak256("case"));
    DisputeId internal constant OTHER = DisputeId.wrap(keccak256("other case"));

    IOperatorCommittee.Vote internal constant ABSENT = IOperatorCommittee.Vote.None;
    IOperatorCommittee.Vote internal constant ACCEPT = IOperatorCommittee.Vote.Accept;
    IOperatorCommittee.Vote internal constant REJECT = IOperatorCommittee.Vote.Reject;

    BondVault internal vault;
    OperatorCommittee internal committee;

    function setUp() public virtual {
        blocks.roll(1000);
        vm.warp(1_000_000);
        vault = BondVault(deploy("BondVault", ""));
        committee = OperatorCommittee(deploy("OperatorCommittee", abi.encode(vault, GAME, standard())));
    }

    function standard() internal pure returns (IOperatorCommittee.Parameters memory) {
        return IOperatorCommittee.Parameters({
            stake: 10 ether,
            memberFee: 0.3 ether,
            noShowPenalty: 4 ether,
            minorityPenalty: 2 ether,
            size: 5,
            quorum: 3,
            minorityMargin: 3,
            seedDelay: 3,
            commitPeriod: Duration.wrap(100),
            revealPeriod: Duration.wrap(50),
            leaveDelay: Duration.wrap(1000)
        });
    }

    function member(uint256 i) internal pure returns (address) {
        return address(uint160(0x10000 + i));
    }

    // ---- moves

    function join(address who) internal {
        vm.deal(who, 10 ether);
        vm.prank(who);
        committee.join{ value: 10 ether }();
    }

    function joinMany(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            join(member(i));
        }
    }

    function topUp(address who, uint256 amount) internal {
        vm.deal(who, amount);
        vm.prank(who);
        committee.topUp{ value: amount }();
    }

    function requestLeave(address who) internal {
        vm.prank(who);
        committee.requestLeave();
    }

    function leave(address who) internal {
        vm.prank(who);
        committee.leave();
    }

    /// @dev About a claim made after everybody joined.
    function convene(DisputeId caseId) internal {
        convene(caseId, justNow());
    }

    function convene(DisputeId caseId, Timestamp since) internal {
        vm.prank(GAME);
        committee.convene(caseId, PROVER, CHALLENGER, since);
    }

    function draw(DisputeId caseId) internal returns (address[] memory) {
        blocks.roll(committee.seedBlockOf(caseId) + 1);
        committee.draw(caseId);
        return committee.panelOf(caseId);
    }

    function conveneAndDraw(DisputeId caseId) internal returns (address[] memory) {
        convene(caseId);
        return draw(caseId);
    }

    function commit(DisputeId caseId, address who, IOperatorCommittee.Vote vote) internal {
        bytes32 commitment = committee.voteHash(caseId, who, vote, statisticsOf(who), saltOf(who));
        vm.prank(who);
        committee.commit(caseId, commitment);
    }

    function reveal(DisputeId caseId, address who, IOperatorCommittee.Vote vote) internal {
        vm.prank(who);
        committee.reveal(caseId, vote, statisticsOf(who), saltOf(who));
    }

    /// @dev Convene, draw and vote as told, one vote per seat; ends in Tallying.
    function vote5(DisputeId caseId, IOperatorCommittee.Vote[5] memory votes)
        internal
        returns (address[] memory panel)
    {
        panel = conveneAndDraw(caseId);
        for (uint256 i = 0; i < 5; ++i) {
            if (votes[i] != ABSENT) commit(caseId, panel[i], votes[i]);
        }
        vm.warp(commitEnd(caseId) + 1);
        for (uint256 i = 0; i < 5; ++i) {
            if (votes[i] != ABSENT) reveal(caseId, panel[i], votes[i]);
        }
        vm.warp(revealEnd(caseId) + 1);
    }

    function tally(DisputeId caseId) internal returns (IOperatorCommittee.Verdict, address[] memory) {
        vm.prank(GAME);
        return committee.tally(caseId);
    }

    /// @dev A whole case in which nobody of the panel shows up.
    function penalisePanel(DisputeId caseId) internal returns (address[] memory panel) {
        panel = conveneAndDraw(caseId);
        vm.warp(revealEnd(caseId) + 1);
        tally(caseId);
    }

    // ---- reading

    function statisticsOf(address who) internal pure returns (bytes memory) {
        return abi.encode("statistics", who);
    }

    function saltOf(address who) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", who));
    }

    /// @dev The first second at which stakes of the present one count.
    function justNow() internal view returns (Timestamp) {
        return Timestamp.wrap(uint64(vm.getBlockTimestamp() + 1));
    }

    function isEligible(address who) internal view returns (bool) {
        return committee.isEligible(who, justNow());
    }

    function commitEnd(DisputeId caseId) internal view returns (uint256) {
        (Timestamp end,) = committee.deadlinesOf(caseId);
        return Timestamp.unwrap(end);
    }

    function revealEnd(DisputeId caseId) internal view returns (uint256) {
        (, Timestamp end) = committee.deadlinesOf(caseId);
        return Timestamp.unwrap(end);
    }

    function caseOf(uint256 i) internal pure returns (DisputeId) {
        return DisputeId.wrap(keccak256(abi.encode("case", i)));
    }

    function contains(address[] memory list, address who) internal pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == who) return true;
        }
        return false;
    }

    function assertStage(DisputeId caseId, IOperatorCommittee.Stage stage) internal view {
        vm.assertEq(uint256(committee.stageOf(caseId)), uint256(stage), "stage");
    }

    function assertVerdict(IOperatorCommittee.Verdict given, IOperatorCommittee.Verdict expected) internal pure {
        vm.assertEq(uint256(given), uint256(expected), "verdict");
    }

    function assertConserved() internal view {
        uint256 accounted = vault.totalLocked() + vault.totalCredited() + vault.totalBurned();
        vm.assertEq(accounted, address(vault).balance, "locked + credited + burned = balance");
    }

    function expectWrongStage(DisputeId caseId, IOperatorCommittee.Stage stage, IOperatorCommittee.Stage required)
        internal
    {
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.WrongStage.selector, caseId, stage, required));
    }
}
