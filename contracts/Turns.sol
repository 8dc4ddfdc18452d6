// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "./interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "./interfaces/IDisputeGame.sol";
import { ISumGame } from "./interfaces/ISumGame.sol";
import { Clock } from "./libraries/Clock.sol";
import { DisputeId, Duration, Timestamp } from "./types/Types.sol";

/// @title The disputes, whose turn it is in each, and until when.
/// @dev Documented in IDisputeGame.
abstract contract Turns is IDisputeGame {
    /// @inheritdoc IDisputeGame
    IClaimRegistry public immutable claims;

    /// @inheritdoc IDisputeGame
    ISumGame public immutable sums;

    mapping(DisputeId disputeId => Dispute) internal _disputes;

    constructor(IClaimRegistry claims_, ISumGame sums_) {
        claims = claims_;
        sums = sums_;
    }

    /// @inheritdoc IDisputeGame
    function passTurn(DisputeId disputeId, address mover, Phase required, Phase next) external {
        _requireSumGame();
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, required, true);
        _requireTurn(dispute, claim, mover);
        _passTurn(dispute, next);
    }

    /// @inheritdoc IDisputeGame
    function getDispute(DisputeId disputeId) external view returns (Dispute memory) {
        return _known(disputeId);
    }

    /// @inheritdoc IDisputeGame
    function deadlineOf(DisputeId disputeId) external view returns (Timestamp) {
        return _deadline(_known(disputeId));
    }

    /// @dev The gate of every move. With `anyone` the caller need not be the side to move.
    function _gate(DisputeId disputeId, Phase required, bool anyone)
        internal
        view
        returns (Dispute storage dispute, IClaimRegistry.Standing memory claim)
    {
        (dispute, claim) = _inPlay(disputeId);
        // INVARIANT: the first refutation takes the prover's bond; every other dispute is closed, or ends by its vote.
        if (claim.refuted) revert ClaimRefutedElsewhere(dispute.claimId);
        _requirePhase(disputeId, dispute, required);
        if (!anyone) _requireTurn(dispute, claim, msg.sender);
        // INVARIANT: at any second either the side to move may move or anyone may call timeout, never both.
        if (Clock.hasPassed(_deadline(dispute))) revert ClockExpired(disputeId);
    }

    function _requirePhase(DisputeId disputeId, Dispute storage dispute, Phase required) internal view {
        if (dispute.phase != required) revert WrongPhase(disputeId, dispute.phase, required);
    }

    function _requireTurn(Dispute storage dispute, IClaimRegistry.Standing memory claim, address caller) private view {
        address mover = _isProversTurn(dispute) ? claim.prover : dispute.challenger;
        if (caller != mover) revert NotYourTurn(caller, mover);
    }

    function _requireSumGame() internal view {
        if (msg.sender != address(sums)) revert NotSumGame(msg.sender);
    }

    function _inPlay(DisputeId disputeId)
        internal
        view
        returns (Dispute storage dispute, IClaimRegistry.Standing memory claim)
    {
        dispute = _known(disputeId);
        if (dispute.phase == Phase.Closed) revert AlreadyClosed(disputeId);
        claim = claims.standingOf(dispute.claimId);
    }

    function _known(DisputeId disputeId) internal view returns (Dispute storage dispute) {
        dispute = _disputes[disputeId];
        if (dispute.phase == Phase.None) revert UnknownDispute(disputeId);
    }

    function _isProversTurn(Dispute storage dispute) internal view returns (bool) {
        Phase phase = dispute.phase;
        return phase == Phase.Reveal || phase == Phase.Answer || phase == Phase.Defence || phase == Phase.Doubt;
    }

    function _deadline(Dispute storage dispute) internal view returns (Timestamp) {
        if (dispute.phase == Phase.Vote || dispute.phase == Phase.Closed) return Timestamp.wrap(type(uint64).max);
        Duration left = _isProversTurn(dispute) ? dispute.proverLeft : dispute.challengerLeft;
        return Clock.deadline(dispute.turnStart, left);
    }

    /// @dev The time the turn took is the mover's own.
    function _passTurn(Dispute storage dispute, Phase next) internal {
        if (_isProversTurn(dispute)) dispute.proverLeft = Clock.spend(dispute.proverLeft, dispute.turnStart);
        else dispute.challengerLeft = Clock.spend(dispute.challengerLeft, dispute.turnStart);
        dispute.turnStart = Clock.present();
        dispute.phase = next;
    }
}
