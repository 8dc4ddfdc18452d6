// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "./interfaces/IAdjudicator.sol";
import { IClaimRegistry } from "./interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "./interfaces/IDisputeGame.sol";
import { IPartialSums } from "./interfaces/IPartialSums.sol";
import { ISumGame } from "./interfaces/ISumGame.sol";
import { Partition } from "./libraries/Partition.sol";
import { Tags } from "./libraries/Tags.sol";
import { DisputeId } from "./types/Types.sol";

/// @title SumGame
/// @dev Documented in ISumGame. Every move goes through the dispute game's own gate, which knows whose turn it is and
/// until when, and passes the turn or ends the dispute. Besides that game this contract calls the claim registry and
/// the disputed operator's adjudicator, and only reads from them.
contract SumGame is ISumGame {
    /// @inheritdoc ISumGame
    IDisputeGame public immutable disputeGame;

    /// @inheritdoc ISumGame
    IClaimRegistry public immutable claims;

    mapping(DisputeId disputeId => Assertion) private _assertions;

    /// @param disputeGame_ May be an address that is yet to be deployed to.
    constructor(IDisputeGame disputeGame_, IClaimRegistry claims_) {
        require(address(disputeGame_) != address(0), InvalidConfiguration("no dispute game"));
        require(address(claims_).code.length != 0, InvalidConfiguration("claims have no code"));
        disputeGame = disputeGame_;
        claims = claims_;
    }

    /// @inheritdoc ISumGame
    function assertSum(
        DisputeId disputeId,
        IDisputeGame.LeafClaim calldata leaf,
        IPartialSums.Source[] calldata tensors,
        uint256[] calldata firsts,
        uint256 lanes,
        uint256 hint,
        uint256[3] calldata sums
    ) external {
        _turn(disputeId, IDisputeGame.Phase.Leaf, IDisputeGame.Phase.Doubt);
        Assertion storage assertion = _assertions[disputeId];
        // INVARIANT: a prover has to answer one assertion in a dispute, and what it accepted stays.
        if (assertion.stage != Stage.None) revert AlreadyAsserted(disputeId);
        (address adjudicator, IAdjudicator.Leaf memory committed) = disputeGame.verifyLeaf(disputeId, leaf);
        // INVARIANT: the sums are over operands that the prover knows, as it committed to them or the model did.
        IPartialSums.Range memory range = IPartialSums(adjudicator).rangeOf(committed, tensors, firsts, lanes, hint);
        assertion.key = keccak256(abi.encode(Tags.SUMS, range));
        assertion.partials = _hash(sums);
        assertion.adjudicator = adjudicator;
        // SAFETY: a range lies in one row of a tensor, whose length is a uint32.
        assertion.hi = uint32(lanes);
        assertion.stage = Stage.Asserted;
        emit SumAsserted(disputeId, range, sums);
    }

    /// @inheritdoc ISumGame
    function accept(DisputeId disputeId, bytes32 key, uint256[3] calldata sums) external {
        _turn(disputeId, IDisputeGame.Phase.Doubt, IDisputeGame.Phase.Leaf);
        // INVARIANT: what was doubted is not accepted; the prover goes on to a wrong sum, or loses.
        _requireStage(disputeId, Stage.Asserted);
        Assertion storage assertion = _assertions[disputeId];
        _requireRange(assertion, key);
        _requirePartials(assertion, _hash(sums));
        assertion.stage = Stage.Accepted;
        emit SumAccepted(disputeId);
    }

    /// @inheritdoc ISumGame
    function doubt(
        DisputeId disputeId,
        bytes32 key,
        uint32 lo,
        uint32 hi,
        uint256[3][] calldata partials,
        uint256 child
    ) external {
        _turn(disputeId, IDisputeGame.Phase.Doubt, IDisputeGame.Phase.Split);
        Assertion storage assertion = _assertions[disputeId];
        _requireRange(assertion, key);
        _requireLanes(assertion, lo, hi);
        _requirePartials(assertion, keccak256(abi.encode(Tags.PARTIALS, partials)));
        if (child >= partials.length) revert IDisputeGame.ChildOutOfRange(child, partials.length);
        // The sums asserted at first are one child, which is the whole range.
        (lo, hi) = Partition.child(lo, hi, partials.length, child, 1);
        (assertion.lo, assertion.hi) = (lo, hi);
        assertion.partials = _hash(partials[child]);
        assertion.stage = Stage.Doubted;
        emit SumDoubted(disputeId, lo, hi, partials[child]);
    }

    /// @inheritdoc ISumGame
    function split(DisputeId disputeId, uint32 lo, uint32 hi, uint256[3] calldata sums, uint256[3][] calldata partials)
        external
    {
        _turn(disputeId, IDisputeGame.Phase.Split, IDisputeGame.Phase.Doubt);
        Assertion storage assertion = _assertions[disputeId];
        _requireLanes(assertion, lo, hi);
        _requirePartials(assertion, _hash(sums));
        // INVARIANT: every split makes the range shorter.
        if (hi - lo == 1) revert SingleLane();
        uint256 degree = Partition.degree(disputeGame.parameters().fanOut, hi - lo);
        if (partials.length != degree) revert WrongPartialCount(partials.length, degree);
        // INVARIANT: if the doubted sums are wrong, so are those over some child.
        for (uint256 part = 0; part < 3; ++part) {
            uint256 total;
            for (uint256 i = 0; i < degree; ++i) {
                total += partials[i][part];
            }
            if (total != sums[part]) revert PartialsDoNotAddUp(part);
        }
        assertion.partials = keccak256(abi.encode(Tags.PARTIALS, partials));
        emit SumSplit(disputeId, lo, hi, partials);
    }

    /// @inheritdoc ISumGame
    function settle(
        DisputeId disputeId,
        IPartialSums.Range calldata range,
        uint256[3] calldata sums,
        uint256[] calldata lanes
    ) external {
        Assertion storage assertion = _assertions[disputeId];
        _requireRange(assertion, keccak256(abi.encode(Tags.SUMS, range)));
        _requirePartials(assertion, _hash(sums));
        (uint32 lo, uint32 hi) = (assertion.lo, assertion.hi);
        IPartialSums.Range memory doubted = range;
        doubted.lanes = hi - lo;
        doubted.first += lo;
        // INVARIANT: a second run begins where it did, and where there is none, none begins.
        if (doubted.otherTensor != 0) doubted.otherFirst += lo;
        uint256[3] memory total = IPartialSums(assertion.adjudicator).totalOf(doubted, lanes);
        // INVARIANT: the prover is punished for nothing but a doubt of what the contract computed itself.
        if (_hash(total) != assertion.partials) revert SumsDiffer();
        emit SumSettled(disputeId, lo, hi);
        _win(disputeId, IDisputeGame.Phase.Split);
    }

    /// @inheritdoc ISumGame
    function prove(
        DisputeId disputeId,
        IDisputeGame.LeafClaim calldata leaf,
        bytes calldata proof,
        uint256[3] calldata sums
    ) external {
        _requireStage(disputeId, Stage.Accepted);
        Assertion storage assertion = _assertions[disputeId];
        _requirePartials(assertion, _hash(sums));
        (address adjudicator, IAdjudicator.Leaf memory committed) = disputeGame.verifyLeaf(disputeId, leaf);
        if (!IPartialSums(adjudicator).refutesGiven(committed, proof, assertion.key, sums)) {
            revert IDisputeGame.NotRefuted(disputeId);
        }
        IDisputeGame.Dispute memory dispute = disputeGame.getDispute(disputeId);
        address prover = claims.standingOf(dispute.claimId).prover;
        emit IDisputeGame.ElementRefuted(disputeId, dispute.lo, adjudicator, prover);
        _win(disputeId, IDisputeGame.Phase.Leaf);
    }

    /// @inheritdoc ISumGame
    function assertionOf(DisputeId disputeId) external view returns (Assertion memory) {
        return _assertions[disputeId];
    }

    /// @dev The sender's move, which is one of the phase `required`, and after which the other side is to move.
    function _turn(DisputeId disputeId, IDisputeGame.Phase required, IDisputeGame.Phase next) private {
        disputeGame.passTurn(disputeId, msg.sender, required, next);
    }

    /// @dev Ends the dispute in the challenger's favour, while its clock runs.
    function _win(DisputeId disputeId, IDisputeGame.Phase required) private {
        disputeGame.winBySums(disputeId, required);
    }

    function _requireStage(DisputeId disputeId, Stage required) private view {
        Stage stage = _assertions[disputeId].stage;
        if (stage != required) revert WrongSumStage(disputeId, stage, required);
    }

    /// @dev INVARIANT: a move is about the range that its sender saw asserted.
    function _requireRange(Assertion storage assertion, bytes32 key) private view {
        if (key != assertion.key) revert RangeMismatch(key, assertion.key);
    }

    /// @dev INVARIANT: and about the lanes of it that its sender saw disputed, as others may have equal sums.
    function _requireLanes(Assertion storage assertion, uint32 lo, uint32 hi) private view {
        if (lo != assertion.lo || hi != assertion.hi) revert LanesMismatch(assertion.lo, assertion.hi);
    }

    /// @dev INVARIANT: what is argued about is what was asserted.
    function _requirePartials(Assertion storage assertion, bytes32 given) private view {
        if (given != assertion.partials) revert PartialsMismatch(given, assertion.partials);
    }

    /// @dev The hash of a list of one.
    function _hash(uint256[3] memory sums) private pure returns (bytes32) {
        uint256[3][] memory list = new uint256[3][](1);
        list[0] = sums;
        return keccak256(abi.encode(Tags.PARTIALS, list));
    }
}
