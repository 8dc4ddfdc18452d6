// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DisputeId, Duration, Timestamp } from "../types/Types.sol";
import { IBondVault } from "./IBondVault.sol";

/// @title The honest-majority vote on one operator, or on a segment of operators.
///
///   join (stake) ... convene --seed block mined--> draw --> commit --> reveal --> tally
///
/// @notice Members stake an exact amount and hold one seat each. A case announces a future block; stakes are
/// frozen from the announcement on; that block's hash draws the panel; votes are committed, then revealed.
/// A vote carries the percentile statistics the member measured, so that a tally can be explained.
interface IOperatorCommittee {
    enum Vote {
        None,
        Accept,
        Reject
    }

    enum Verdict {
        NoQuorum,
        Accept,
        Reject
    }

    enum Stage {
        None,
        Announced,
        Commit,
        Reveal,
        Tallying,
        Ended
    }

    /// @param size Seats drawn per case; odd and at most 31.
    /// @param quorum Revealed votes without which a case is undecided; more than half of `size`.
    /// @param minorityMargin Majority minus minority from which on the minority pays `minorityPenalty`.
    /// @param seedDelay Blocks between the announcement and the seed block, from 1 to 256.
    /// @param leaveDelay Time between asking to leave and leaving.
    struct Parameters {
        uint256 stake;
        uint256 memberFee;
        uint256 noShowPenalty;
        uint256 minorityPenalty;
        uint8 size;
        uint8 quorum;
        uint8 minorityMargin;
        uint16 seedDelay;
        Duration commitPeriod;
        Duration revealPeriod;
        Duration leaveDelay;
    }

    event MemberJoined(address indexed member);
    event MemberLeaving(address indexed member, Timestamp leavesAt);
    event MemberLeft(address indexed member, uint256 returned);
    event StakeToppedUp(address indexed member, uint256 stake);
    event CaseAnnounced(DisputeId indexed caseId, uint256 seedBlock);
    event PanelDrawn(DisputeId indexed caseId, address[] panel, Timestamp commitEnd, Timestamp revealEnd);
    event VoteCommitted(DisputeId indexed caseId, address indexed member);
    event VoteRevealed(DisputeId indexed caseId, address indexed member, Vote vote, bytes statistics);
    event MemberPenalised(DisputeId indexed caseId, address indexed member, uint256 amount);
    event CaseTallied(DisputeId indexed caseId, Verdict verdict, uint256 accepts, uint256 rejects);

    error NotDisputeGame(address caller);
    error NotMember(address caller);
    error AlreadyMember(address caller);
    error AlreadyLeaving(address caller);
    error WrongStake(uint256 sent, uint256 required);
    error LeaveNotDue(address caller, Timestamp leavesAt);
    /// @notice Stakes are frozen: a panel is being drawn, or the member sits on one.
    error StakesFrozen(uint256 pendingDraws, uint256 duties);
    error WrongStage(DisputeId caseId, Stage stage, Stage required);
    error SeedNotMined(DisputeId caseId, uint256 seedBlock);
    error NotOnPanel(DisputeId caseId, address caller);
    error AlreadyCommitted(DisputeId caseId, address caller);
    error NothingCommitted(DisputeId caseId, address caller);
    error AlreadyRevealed(DisputeId caseId, address caller);
    error CommitmentMismatch(bytes32 given, bytes32 required);
    error InvalidVote();
    error StatisticsTooLong(uint256 length, uint256 limit);
    error DuplicateCase(DisputeId caseId);
    error InvalidConfiguration(string reason);

    /// @notice Stake exactly `stake` for one seat, from which votes are cast on claims made later.
    function join() external payable;

    /// @notice Restore a penalised stake to exactly `stake`, for claims made later; below it a member is not drawn.
    function topUp() external payable;

    /// @notice Ask to leave; from now on the member is not drawn into cases announced later.
    function requestLeave() external;

    /// @notice Leave with what is left of the stake, after the delay and when no stake is frozen.
    function leave() external;

    /// @notice DisputeGame only: announce a case and its seed block; stakes are frozen.
    /// @param since Drawn are members whose stake is whole since before this second.
    function convene(DisputeId caseId, address prover, address challenger, Timestamp since) external;

    /// @notice Anyone: draw the panel by the seed block's hash. Where that hash is no longer to be had, a
    /// new seed block is announced instead. Neither party sits on the panel.
    function draw(DisputeId caseId) external;

    /// @param commitment voteHash(caseId, member, vote, statistics, salt).
    function commit(DisputeId caseId, bytes32 commitment) external;

    /// @param statistics What the member measured, at most 1024 bytes (docs/protocol.md gives the format).
    function reveal(DisputeId caseId, Vote vote, bytes calldata statistics, bytes32 salt) external;

    /// @notice DisputeGame only: count, penalise, release the panel.
    /// @return verdict NoQuorum where fewer than `quorum` revealed.
    /// @return rewarded The majority's members, to whom the loser's bond owes `memberFee` each.
    function tally(DisputeId caseId) external returns (Verdict verdict, address[] memory rewarded);

    /// @notice keccak256(abi.encode(TAG_VOTE, chain, this contract, caseId, member, vote, keccak256(statistics), salt)).
    function voteHash(DisputeId caseId, address member, Vote vote, bytes calldata statistics, bytes32 salt)
        external
        view
        returns (bytes32);

    function stageOf(DisputeId caseId) external view returns (Stage);

    function panelOf(DisputeId caseId) external view returns (address[] memory);

    /// @notice Zero before the draw.
    function deadlinesOf(DisputeId caseId) external view returns (Timestamp commitEnd, Timestamp revealEnd);

    function voteOf(DisputeId caseId, address member) external view returns (bytes32 commitment, Vote vote);

    function seedBlockOf(DisputeId caseId) external view returns (uint256);

    function stakeOf(address member) external view returns (uint256);

    /// @notice From when on the member may leave. Zero unless the member asked to leave.
    function leavesAt(address member) external view returns (Timestamp);

    function memberCount() external view returns (uint256);

    /// @notice The members in the order of their seats; panics from `memberCount` on.
    function memberAt(uint256 index) external view returns (address);

    /// @notice Panels that the member sits on and that are not yet tallied; while there are any it does not leave.
    function dutiesOf(address member) external view returns (uint256);

    /// @notice Cases announced and not yet drawn; while there are any nobody leaves or tops up.
    function pendingDraws() external view returns (uint256);

    /// @notice Would a case announced now, about a claim made at `since`, include the member in its draw?
    function isEligible(address member, Timestamp since) external view returns (bool);

    function parameters() external view returns (Parameters memory);

    function vault() external view returns (IBondVault);

    function disputeGame() external view returns (address);
}
