// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ClaimId, DisputeId, Duration, Timestamp } from "../types/Types.sol";
import { IAdjudicator } from "./IAdjudicator.sol";
import { IBondVault } from "./IBondVault.sol";
import { IClaimRegistry } from "./IClaimRegistry.sol";
import { IModelRegistry } from "./IModelRegistry.sol";
import { IOperatorCommittee } from "./IOperatorCommittee.sol";
import { ISumGame } from "./ISumGame.sol";

/// @title The dispute: a recursive N-way partition of the committed operator graph.
///
///   open --> Reveal (prover) --reveal--> Select (challenger) --select--> Reveal ... until one operator is left
///                                        escalate --> Vote    |
///                                                           Leaf (challenger)
///                           prove / proveInconsistent ----------+--> challenger wins
///                           demand --> Answer (prover) --answer--+--> Leaf
///                           accuse --> Defence (prover) --escalate--> Vote
///                           escalate --> Vote --settleVote--> either wins, or undecided
///                           assertSum --> Doubt (prover), Split (challenger): the sum game, see ISumGame
///
///   timeout: the side whose turn it is and whose clock ran out loses.
///   close:   the claim was refuted in another dispute; this one ends and the challenger is refunded, but for a vote:
///            that goes on, and a verdict for the prover costs the challenger its bond as ever.
///
/// @notice One entry per dispute; disputes of one claim run side by side and do not see each other.
/// A dispute is about the segment [lo, hi) of the run: both sides agree to argue from the prover's own
/// state at `lo`, and the challenger says that the prover's state at `hi` does not follow from it.
/// A run repeats the graph of `nodeCount` nodes once a step: its operator g is node g % nodeCount of step
/// g / nodeCount. Segments longer than a step are cut between steps only.
interface IDisputeGame {
    enum Phase {
        None,
        Reveal,
        Select,
        Leaf,
        Answer,
        Defence,
        Doubt,
        Split,
        Vote,
        Closed
    }

    enum Outcome {
        Open,
        ChallengerWon,
        ProverWon,
        Undecided,
        Moot
    }

    /// @param lo First operator of the disputed segment, counted through the whole run.
    /// @param hi One past its last operator.
    /// @param loState The prover's state hash at cut `lo`.
    /// @param hiState The prover's state hash at cut `hi`.
    /// @param boundaries keccak256 of the packed state hashes at the cuts last revealed, both ends included.
    /// @param demanded Hash of the element demanded (see `demand`), zero when none is.
    /// @param proverLeft Time left on the prover's chess clock at `turnStart`.
    /// @param challengerLeft Time left on the challenger's.
    /// @param turnStart When the present turn began.
    /// @param nodeCount Operators of one step of the model.
    struct Dispute {
        ClaimId claimId;
        address challenger;
        Phase phase;
        Outcome outcome;
        uint8 demandsLeft;
        uint32 lo;
        uint32 hi;
        bytes32 loState;
        bytes32 hiState;
        bytes32 boundaries;
        bytes32 demanded;
        Duration proverLeft;
        Duration challengerLeft;
        Timestamp turnStart;
        uint32 nodeCount;
    }

    /// @param fanOut Children of a segment at most, from 2 to 64.
    /// @param challengerBond What a dispute locks, exactly.
    /// @param burnShareBps Share of a lost bond that is burned, in 1/10,000; that of the claim registry.
    /// @param proverClock Time the prover has for all its turns of a dispute together.
    /// @param challengerClock Time the challenger has for all its turns of a dispute together.
    /// @param maxDemands Chunks the challenger may demand in a dispute.
    struct Parameters {
        uint8 fanOut;
        uint256 challengerBond;
        uint16 burnShareBps;
        Duration proverClock;
        Duration challengerClock;
        uint8 maxDemands;
    }

    /// @param record Packed record of the node that operator `lo` is.
    /// @param graphProof Its Merkle path to the model's graph root.
    /// @param stateBefore Tensor commitments whose hash is `loState`.
    /// @param outputs Tensor commitments of the operator's outputs; with `stateBefore` they hash to `hiState`.
    struct LeafClaim {
        bytes record;
        bytes32[] graphProof;
        bytes32[] stateBefore;
        bytes32[] outputs;
    }

    event DisputeOpened(DisputeId indexed disputeId, ClaimId indexed claimId, address indexed challenger);
    /// @param states The tensor commitments live at each inner cut of the segment, in order.
    event StatesRevealed(DisputeId indexed disputeId, uint32 lo, uint32 hi, bytes32[][] states);
    event SegmentSelected(DisputeId indexed disputeId, uint32 lo, uint32 hi);
    event ElementDemanded(
        DisputeId indexed disputeId, bytes32 commitment, bytes tensorType, uint256 chunk, bytes32 demanded
    );
    /// @param path Siblings from the chunk up to the tensor's data root, so that the opening can go into a proof.
    event ElementOpened(DisputeId indexed disputeId, bytes32 commitment, uint256 chunk, bytes data, bytes32[] path);
    /// @param operator Of the run.
    /// @param theta Its node's calibrated threshold that the element exceeds, in units of 2^-16.
    event Accused(DisputeId indexed disputeId, uint32 operator, uint32 theta);
    /// @notice The committee judges operators [lo, hi), from the dispute's `loState` to its `hiState`.
    event Escalated(DisputeId indexed disputeId, uint32 lo, uint32 hi);
    event ElementRefuted(DisputeId indexed disputeId, uint32 operator, address adjudicator, address prover);
    event InconsistencyProven(DisputeId indexed disputeId, uint32 operator);
    event DisputeClosed(DisputeId indexed disputeId, ClaimId indexed claimId, Outcome outcome);

    error UnknownDispute(DisputeId disputeId);
    error DuplicateDispute(DisputeId disputeId);
    /// @notice The dispute has ended; nothing more can be done in it.
    error AlreadyClosed(DisputeId disputeId);
    error WrongBond(uint256 sent, uint256 required);
    error WrongPhase(DisputeId disputeId, Phase phase, Phase required);
    error NotYourTurn(address caller, address required);
    error ClockExpired(DisputeId disputeId);
    error ClockRunning(DisputeId disputeId);
    error WrongStateCount(uint256 given, uint256 required);
    error EmptyState(uint256 index);
    /// @notice A longer state could be shown in no transaction beside another one.
    error StateTooLong(uint256 index, uint256 length);
    /// @notice The dispute is about this segment: another one was selected since, or in its place.
    error SegmentMismatch(uint32 lo, uint32 hi);
    /// @notice The state revealed before `step` is not the one under the claim's checkpoint root.
    error CheckpointMismatch(uint256 step);
    /// @notice Only states between steps are checkpoints.
    error UnexpectedPaths(uint256 given);
    error BoundariesMismatch(bytes32 given, bytes32 required);
    error ChildOutOfRange(uint256 child, uint256 degree);
    error StateMismatch(bytes32 given, bytes32 required);
    error NodeNotInGraph(uint32 node);
    error NoAdjudicator(bytes4 operator);
    error NotRefuted(DisputeId disputeId);
    error StatesConsistent(DisputeId disputeId);
    /// @notice The node has no threshold, or the model is one of several steps, which has none.
    error NotCalibrated(uint32 node);
    /// @notice What was given is not the disputed node's leaf of the model's tolerances.
    error ThresholdMismatch(uint32 node, uint32 theta);
    error NotExceeded(DisputeId disputeId);
    /// @notice The committee judges one step of a run at most.
    error SegmentTooLong(uint32 lo, uint32 hi);
    error NoDemandsLeft(DisputeId disputeId);
    error DemandOutOfRange(uint256 index, uint256 size);
    /// @notice The operand is a parameter: the model's, not the prover's, to open.
    error ParameterDemanded(uint256 index);
    error DemandMismatch(bytes32 given, bytes32 required);
    error OpeningMismatch(bytes32 commitment);
    error ClaimRefutedElsewhere(ClaimId claimId);
    error ClaimNotRefuted(ClaimId claimId);
    /// @notice The committee is asked, and what it says ends the dispute.
    error VoteRunning(DisputeId disputeId);
    error InvalidConfiguration(string reason);
    error DuplicateOperator(bytes4 operator);
    error NotSumGame(address caller);

    /// @notice Challenge a claim under the exact bond. One dispute per claim and challenger.
    function open(ClaimId claimId) external payable returns (DisputeId);

    /// @notice Prover: reveal the states at the inner cuts of the segment.
    /// @param lo The segment, [lo, hi), so that no states end up in another one after a reorganisation.
    /// @param states One list of tensor commitments per inner cut: degree - 1 lists, none empty.
    /// @param paths In a segment longer than a step, the Merkle path of each inner cut's state hash, which is leaf
    /// cut / nodeCount of the claim's checkpoint tree; otherwise empty.
    function reveal(DisputeId disputeId, uint32 lo, uint32 hi, bytes32[][] calldata states, bytes32[][] calldata paths)
        external;

    /// @notice Challenger: select the first child whose end does not follow from its start.
    /// @param lo As for `reveal`.
    /// @param hashes The degree + 1 state hashes of the segment as stored by `reveal`.
    function select(DisputeId disputeId, uint32 lo, uint32 hi, bytes32[] calldata hashes, uint256 child) external;

    /// @notice Anyone: show that one element of the operator's output is outside tolerance.
    function prove(DisputeId disputeId, LeafClaim calldata leaf, bytes calldata proof) external;

    /// @notice Challenger: show that one element of the operator's output exceeds the node's calibrated threshold, which
    /// honest kernels rarely do. The prover now has to put the operator to the committee, or loses on time.
    /// @param proof As the operator's ICalibratedAdjudicator wants it. Where the operator's adjudicator is none, the call
    /// reverts without a reason.
    /// @param theta Threshold in units of 2^-16, positive; with `toleranceHash`, the hash of the node's other
    /// tolerances, it is the leaf keccak256(TAG_TOLERANCE || theta || toleranceHash).
    /// @param tolerancePath Its Merkle path in the tree of the nodes' tolerances, then the segments' root.
    function accuse(
        DisputeId disputeId,
        LeafClaim calldata leaf,
        bytes calldata proof,
        uint32 theta,
        bytes32 toleranceHash,
        bytes32[] calldata tolerancePath
    ) external;

    /// @notice Anyone: show that the prover's states around the operator do not fit its record: the state
    /// after has the wrong length, or a value that only passes through changed. No arithmetic is involved.
    /// @param stateAfter Tensor commitments whose hash is `hiState`; `leaf.outputs` is ignored.
    function proveInconsistent(DisputeId disputeId, LeafClaim calldata leaf, bytes32[] calldata stateAfter) external;

    /// @notice Challenger: make the prover open one 256-byte chunk of a value it committed to.
    /// @param ofOutput True for `leaf.outputs[index]`, false for `leaf.stateBefore[operand index's position]`.
    /// @param index Output slot, or operand index whose source is a live value.
    /// @param chunk Leaf index in the tensor's tree.
    function demand(DisputeId disputeId, LeafClaim calldata leaf, bool ofOutput, uint256 index, uint256 chunk) external;

    /// @notice Prover: open the demanded chunk.
    /// @param tensorType Packed type as in ElementDemanded.
    function answer(
        DisputeId disputeId,
        bytes32 commitment,
        bytes calldata tensorType,
        uint256 chunk,
        bytes calldata data,
        bytes32[] calldata path
    ) external;

    /// @notice Put the segment [lo, hi) to the committee; both clocks stop. The challenger may at the leaf, where the
    /// segment is one operator, and instead of selecting a child, where it is at most a step: each child may follow
    /// within its tolerance and the whole not within its own. The prover may once it is accused.
    /// @param lo As for `reveal`.
    function escalate(DisputeId disputeId, uint32 lo, uint32 hi) external;

    /// @notice SumGame only: a move of the phase `required` by `mover`, whose turn it has to be; the turn passes to
    /// the other side, in the phase `next`.
    function passTurn(DisputeId disputeId, address mover, Phase required, Phase next) external;

    /// @notice SumGame only: the challenger has won in the phase `required`, in its own time.
    function winBySums(DisputeId disputeId, Phase required) external;

    /// @notice Anyone: end the dispute by the committee's tally. Where the claim was refuted in another dispute meanwhile,
    /// a verdict against the prover refunds the challenger and pays no member: the bond that would is gone.
    function settleVote(DisputeId disputeId) external;

    /// @notice Anyone: the side to move has let its clock run out and loses.
    function timeout(DisputeId disputeId) external;

    /// @notice Anyone: the claim was refuted in another dispute; refund this challenger. Refused in a vote.
    function close(DisputeId disputeId) external;

    /// @notice Reverts with UnknownDispute for an id that names no dispute.
    function getDispute(DisputeId disputeId) external view returns (Dispute memory);

    /// @notice keccak256(abi.encode(TAG_DISPUTE, chain, this contract, claim, challenger)).
    function idOf(ClaimId claimId, address challenger) external view returns (DisputeId);

    /// @notice Last second at which the side to move may move; the largest timestamp where no clock runs.
    function deadlineOf(DisputeId disputeId) external view returns (Timestamp);

    /// @notice The adjudicator of an operator, zero where only the committee can decide.
    function adjudicatorOf(bytes4 operator) external view returns (address);

    /// @notice Checks what is said of the operator in dispute against what the model and the prover committed to.
    /// @return adjudicator Who decides the operator; where nobody does, the call reverts with NoAdjudicator.
    /// @return committed What the adjudicator is to be told of it.
    function verifyLeaf(DisputeId disputeId, LeafClaim calldata leaf)
        external
        view
        returns (address adjudicator, IAdjudicator.Leaf memory committed);

    function parameters() external view returns (Parameters memory);

    /// @notice Holds the challengers' bonds.
    function vault() external view returns (IBondVault);

    function models() external view returns (IModelRegistry);

    /// @notice The claims that disputes are about.
    function claims() external view returns (IClaimRegistry);

    /// @notice Judges what is escalated.
    function committee() external view returns (IOperatorCommittee);

    /// @notice Makes the moves of the phases Doubt and Split.
    function sums() external view returns (ISumGame);
}
