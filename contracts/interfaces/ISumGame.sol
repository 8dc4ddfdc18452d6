// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DisputeId } from "../types/Types.sol";
import { IClaimRegistry } from "./IClaimRegistry.sol";
import { IDisputeGame } from "./IDisputeGame.sol";
import { IPartialSums } from "./IPartialSums.sol";

/// @title The sum game: sums over rows of any length, at a cost that grows with the logarithm of the length.
///
///   Leaf --assertSum (challenger)--> Doubt (prover) --accept--> Leaf --prove--> challenger wins
///                                      |        ^
///                                    doubt    split
///                                      v        |
///                                    Split (challenger) --settle--> challenger wins
///
/// @notice Instead of posting all pieces of a row (IPartialSums) the challenger asserts the sums that they would have,
/// three exact integers. The prover, who can compute them, accepts them or doubts them. Doubted, the challenger reveals
/// the sums over the children of the range, which have to add up to its own; the prover doubts one of them; and so on,
/// until the range is so short that the challenger posts its pieces and settles. Where the sums over them are what it
/// asserted, the prover has doubted a true sum and loses the dispute; until then the challenger's clock runs.
///
/// The turns are the dispute's, in the phases Doubt and Split, on the dispute's own clocks: who is silent loses on time.
/// What was accepted counts in that dispute only. There is one assertion in a dispute, of one range.
interface ISumGame {
    /// @param Asserted The sums over the whole range are asserted, and nothing was doubted.
    /// @param Doubted One sum or several have been doubted.
    /// @param Accepted Both sides agree on the sums over the whole range.
    enum Stage {
        None,
        Asserted,
        Doubted,
        Accepted
    }

    /// @param key Of the whole range, as in IPartialSums.Range.
    /// @param partials Hash of the sums last asserted: of the children of [lo, hi) in the phase Doubt, of [lo, hi) itself
    /// in the phase Split. keccak256(abi.encode(TAG_partials, uint256[3][])).
    /// @param adjudicator Who decides the operator in dispute.
    /// @param lo First disputed lane, counted from the first of the whole range.
    /// @param hi One past the last.
    struct Assertion {
        bytes32 key;
        bytes32 partials;
        address adjudicator;
        uint32 lo;
        uint32 hi;
        Stage stage;
    }

    /// @param sums The three sums, as in IPartialSums.Sums.
    event SumAsserted(DisputeId indexed disputeId, IPartialSums.Range range, uint256[3] sums);
    event SumAccepted(DisputeId indexed disputeId);
    /// @notice The prover doubts the sums `sums` over the lanes [lo, hi).
    event SumDoubted(DisputeId indexed disputeId, uint32 lo, uint32 hi, uint256[3] sums);
    event SumSplit(DisputeId indexed disputeId, uint32 lo, uint32 hi, uint256[3][] partials);
    /// @notice The doubted sums over the lanes [lo, hi) are what the pieces add up to.
    event SumSettled(DisputeId indexed disputeId, uint32 lo, uint32 hi);

    error InvalidConfiguration(string reason);
    error AlreadyAsserted(DisputeId disputeId);
    error WrongSumStage(DisputeId disputeId, Stage stage, Stage required);
    error WrongPartialCount(uint256 given, uint256 required);
    error PartialsMismatch(bytes32 given, bytes32 required);
    /// @notice The children's sums, of which `part` is the first that differs, do not add up to the doubted ones.
    error PartialsDoNotAddUp(uint256 part);
    /// @notice A range of one lane has no children.
    error SingleLane();
    error RangeMismatch(bytes32 given, bytes32 required);
    /// @notice The lanes [lo, hi) are in dispute: other ones were doubted since, or in their place.
    error LanesMismatch(uint32 lo, uint32 hi);
    error SumsDiffer();

    /// @notice Challenger, at the leaf: say what the sums over a range of the disputed operator's operands are.
    /// @param leaf As in IDisputeGame.prove.
    /// @param tensors The operands that the lanes lie in, as in IPartialSums.rangeOf.
    /// @param firsts The range's first element in each.
    /// @param sums The three sums, as in IPartialSums.Sums.
    function assertSum(
        DisputeId disputeId,
        IDisputeGame.LeafClaim calldata leaf,
        IPartialSums.Source[] calldata tensors,
        uint256[] calldata firsts,
        uint256 lanes,
        uint256 hint,
        uint256[3] calldata sums
    ) external;

    /// @notice Prover: the asserted sums are right.
    /// @param key Of the range that they are said of, so that nothing else is accepted after a reorganisation.
    function accept(DisputeId disputeId, bytes32 key, uint256[3] calldata sums) external;

    /// @notice Prover: one of the asserted sums is wrong.
    /// @param key As for `accept`.
    /// @param lo The disputed lanes, [lo, hi), as in Assertion, so that no other ones are doubted after a reorganisation.
    /// @param partials As asserted, or last revealed.
    function doubt(
        DisputeId disputeId,
        bytes32 key,
        uint32 lo,
        uint32 hi,
        uint256[3][] calldata partials,
        uint256 child
    ) external;

    /// @notice Challenger: reveal the sums over the children of the doubted range, cut by Partition.
    /// @param lo As for `doubt`.
    /// @param sums The doubted sums.
    function split(DisputeId disputeId, uint32 lo, uint32 hi, uint256[3] calldata sums, uint256[3][] calldata partials)
        external;

    /// @notice Anyone: show that the doubted sums are those of recorded pieces; the prover loses the dispute.
    /// @param range The whole range that was asserted.
    /// @param sums The doubted sums.
    /// @param lanes Lanes of each piece of the doubted range, in order.
    function settle(
        DisputeId disputeId,
        IPartialSums.Range calldata range,
        uint256[3] calldata sums,
        uint256[] calldata lanes
    ) external;

    /// @notice Anyone: as IDisputeGame.prove, by a recorded proof of which the accepted range is a piece.
    /// @param sums The accepted sums.
    function prove(
        DisputeId disputeId,
        IDisputeGame.LeafClaim calldata leaf,
        bytes calldata proof,
        uint256[3] calldata sums
    ) external;

    /// @notice Zeros where nothing was asserted.
    function assertionOf(DisputeId disputeId) external view returns (Assertion memory);

    function disputeGame() external view returns (IDisputeGame);

    function claims() external view returns (IClaimRegistry);
}
