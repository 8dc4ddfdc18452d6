// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "./interfaces/IAdjudicator.sol";
import { IBondVault } from "./interfaces/IBondVault.sol";
import { ICalibratedAdjudicator } from "./interfaces/ICalibratedAdjudicator.sol";
import { IClaimRegistry } from "./interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "./interfaces/IDisputeGame.sol";
import { IModelRegistry } from "./interfaces/IModelRegistry.sol";
import { IOperatorCommittee } from "./interfaces/IOperatorCommittee.sol";
import { ISumGame } from "./interfaces/ISumGame.sol";
import { Checkpoints } from "./libraries/Checkpoints.sol";
import { Clock } from "./libraries/Clock.sol";
import { Leaf } from "./libraries/Leaf.sol";
import { NodeRecord } from "./libraries/NodeRecord.sol";
import { Partition } from "./libraries/Partition.sol";
import { Settlement } from "./libraries/Settlement.sol";
import { States } from "./libraries/States.sol";
import { Tags } from "./libraries/Tags.sol";
import { TensorProof } from "./libraries/TensorProof.sol";
import { Turns } from "./Turns.sol";
import { ClaimId, DisputeId, Duration, Operator } from "./types/Types.sol";

/// @title DisputeGame
/// @dev Documented in IDisputeGame.
contract DisputeGame is Turns {
    /// @inheritdoc IDisputeGame
    IBondVault public immutable vault;

    /// @inheritdoc IDisputeGame
    IModelRegistry public immutable models;

    /// @inheritdoc IDisputeGame
    IOperatorCommittee public immutable committee;

    uint8 private immutable _fanOut;
    uint256 private immutable _challengerBond;
    uint16 private immutable _burnShareBps;
    Duration private immutable _proverClock;
    Duration private immutable _challengerClock;
    uint8 private immutable _maxDemands;
    uint256 private immutable _memberFee;

    /// @inheritdoc IDisputeGame
    mapping(bytes4 operator => address adjudicator) public adjudicatorOf;

    constructor(
        IBondVault vault_,
        IModelRegistry models_,
        IClaimRegistry claims_,
        IOperatorCommittee committee_,
        ISumGame sums_,
        IAdjudicator[] memory adjudicators,
        Parameters memory parameters_
    ) Turns(claims_, sums_) {
        IClaimRegistry.Parameters memory stakes = claims_.parameters();
        IOperatorCommittee.Parameters memory panel = committee_.parameters();
        uint256 share = parameters_.burnShareBps;
        uint256 fee = panel.memberFee;

        require(claims_.disputeGame() == address(this), InvalidConfiguration("claims obey another game"));
        require(committee_.disputeGame() == address(this), InvalidConfiguration("committee obeys another game"));
        require(address(sums_.disputeGame()) == address(this), InvalidConfiguration("sums obey another game"));
        require(sums_.claims() == claims_, InvalidConfiguration("sums are of other claims"));
        require(claims_.vault() == vault_, InvalidConfiguration("claims use another vault"));
        require(committee_.vault() == vault_, InvalidConfiguration("committee uses another vault"));
        require(claims_.models() == models_, InvalidConfiguration("claims use another model registry"));
        require(parameters_.fanOut >= 2 && parameters_.fanOut <= 64, InvalidConfiguration("fan-out is not in 2..64"));
        require(Clock.isSane(parameters_.proverClock), InvalidConfiguration("prover clock is zero or above a year"));
        require(
            Clock.isSane(parameters_.challengerClock), InvalidConfiguration("challenger clock is zero or above a year")
        );
        require(parameters_.maxDemands > 0, InvalidConfiguration("no demand is allowed"));
        require(share > 0 && share < Settlement.BASIS_POINTS, InvalidConfiguration("burned share is nothing or all"));
        require(share == stakes.burnShareBps, InvalidConfiguration("burned share is not that of the claims"));
        require(fee > 0, InvalidConfiguration("members are not paid"));
        // INVARIANT: whoever loses, and however many voted, the bond pays everyone it owes.
        require(
            Settlement.covers(parameters_.challengerBond, share, panel.size, fee),
            InvalidConfiguration("challenger bond does not cover burned share and fees")
        );
        require(
            Settlement.covers(stakes.proverBond, share, panel.size, fee),
            InvalidConfiguration("prover bond does not cover burned share and fees")
        );

        vault = vault_;
        models = models_;
        committee = committee_;
        _fanOut = parameters_.fanOut;
        _challengerBond = parameters_.challengerBond;
        _burnShareBps = parameters_.burnShareBps;
        _proverClock = parameters_.proverClock;
        _challengerClock = parameters_.challengerClock;
        _maxDemands = parameters_.maxDemands;
        _memberFee = fee;

        for (uint256 i = 0; i < adjudicators.length; ++i) {
            Operator[] memory operators = adjudicators[i].operators();
            for (uint256 j = 0; j < operators.length; ++j) {
                bytes4 operator = Operator.unwrap(operators[j]);
                // INVARIANT: one adjudicator decides an operator, so its verdict does not depend on who asks.
                if (adjudicatorOf[operator] != address(0)) revert DuplicateOperator(operator);
                adjudicatorOf[operator] = address(adjudicators[i]);
            }
        }
    }

    /// @inheritdoc IDisputeGame
    function open(ClaimId claimId) external payable returns (DisputeId disputeId) {
        if (msg.value != _challengerBond) revert WrongBond(msg.value, _challengerBond);
        disputeId = idOf(claimId, msg.sender);
        Dispute storage dispute = _disputes[disputeId];
        if (dispute.phase != Phase.None) revert DuplicateDispute(disputeId);

        IClaimRegistry.Claim memory claim = claims.getClaim(claimId);
        IModelRegistry.Model memory model = models.get(claim.modelId);
        dispute.claimId = claimId;
        dispute.challenger = msg.sender;
        dispute.demandsLeft = _maxDemands;
        dispute.proverLeft = _proverClock;
        dispute.challengerLeft = _challengerClock;
        dispute.turnStart = Clock.present();
        dispute.nodeCount = model.nodeCount;
        dispute.phase = _setSegment(dispute, 0, model.steps * model.nodeCount, claim.inputRoot, claim.outputRoot);
        emit DisputeOpened(disputeId, claimId, msg.sender);
        claims.disputeOpened(claimId);
        vault.lock{ value: msg.value }(DisputeId.unwrap(disputeId));
    }

    /// @inheritdoc IDisputeGame
    function reveal(DisputeId disputeId, uint32 lo, uint32 hi, bytes32[][] calldata states, bytes32[][] calldata paths)
        external
    {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, Phase.Reveal, false);
        // INVARIANT: the states are of the segment that the prover saw.
        _requireSegment(dispute, lo, hi);
        uint256 unit = _unit(dispute);
        uint256 degree = Partition.degree(_fanOut, (dispute.hi - dispute.lo) / unit);
        Leaf.requireCount(states.length, degree - 1);

        bytes32[] memory hashes = new bytes32[](degree + 1);
        hashes[0] = dispute.loState;
        hashes[degree] = dispute.hiState;
        for (uint256 i = 0; i < states.length; ++i) {
            if (states[i].length == 0) revert EmptyState(i);
            // INVARIANT: whoever shows that a state does not follow can send it.
            if (states[i].length > States.MAX_VALUES) revert StateTooLong(i, states[i].length);
            hashes[i + 1] = States.hash(states[i]);
        }
        if (dispute.hi - dispute.lo > dispute.nodeCount) {
            bytes32 root = claims.getClaim(dispute.claimId).checkpointRoot;
            Checkpoints.verify(dispute, models.get(claim.modelId).steps, root, hashes, paths);
        } else if (paths.length > 0) {
            revert UnexpectedPaths(paths.length);
        }
        dispute.boundaries = keccak256(abi.encodePacked(hashes));
        _passTurn(dispute, Phase.Select);
        emit StatesRevealed(disputeId, dispute.lo, dispute.hi, states);
    }

    /// @inheritdoc IDisputeGame
    function select(DisputeId disputeId, uint32 lo, uint32 hi, bytes32[] calldata hashes, uint256 child) external {
        (Dispute storage dispute,) = _gate(disputeId, Phase.Select, false);
        // INVARIANT: the child is of the segment that the challenger saw, as equal hashes may stand in another one.
        _requireSegment(dispute, lo, hi);
        bytes32 boundaries = keccak256(abi.encodePacked(hashes));
        // INVARIANT: the hashes are those of the last reveal; their number follows, as it is part of the preimage.
        if (boundaries != dispute.boundaries) revert BoundariesMismatch(boundaries, dispute.boundaries);
        uint256 degree = hashes.length - 1;
        if (child >= degree) revert ChildOutOfRange(child, degree);

        (lo, hi) = Partition.child(lo, hi, degree, child, _unit(dispute));
        _passTurn(dispute, _setSegment(dispute, lo, hi, hashes[child], hashes[child + 1]));
        emit SegmentSelected(disputeId, lo, hi);
    }

    /// @inheritdoc IDisputeGame
    function prove(DisputeId disputeId, LeafClaim calldata leaf, bytes calldata proof) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, Phase.Leaf, true);
        (address adjudicator, IAdjudicator.Leaf memory committed) = _operator(dispute, models.get(claim.modelId), leaf);
        // INVARIANT: only an adjudicator that ran to its end and returned true refutes; one that is starved of
        // gas reverts, and this call with it.
        if (!IAdjudicator(adjudicator).refutes(committed, proof)) revert NotRefuted(disputeId);
        emit ElementRefuted(disputeId, dispute.lo, adjudicator, claim.prover);
        _challengerWins(disputeId, dispute, new address[](0));
    }

    /// @inheritdoc IDisputeGame
    function accuse(
        DisputeId disputeId,
        LeafClaim calldata leaf,
        bytes calldata proof,
        uint32 theta,
        bytes32 toleranceHash,
        bytes32[] calldata tolerancePath
    ) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, Phase.Leaf, false);
        IModelRegistry.Model memory model = models.get(claim.modelId);
        Leaf.verifyThreshold(model, _node(dispute), theta, toleranceHash, tolerancePath);
        (address adjudicator, IAdjudicator.Leaf memory committed) = _operator(dispute, model, leaf);
        // INVARIANT: as in `prove`, what does not run to its end accuses nobody.
        if (!ICalibratedAdjudicator(adjudicator).exceeds(committed, proof, theta)) revert NotExceeded(disputeId);
        _passTurn(dispute, Phase.Defence);
        emit Accused(disputeId, dispute.lo, theta);
    }

    /// @inheritdoc IDisputeGame
    function proveInconsistent(DisputeId disputeId, LeafClaim calldata leaf, bytes32[] calldata stateAfter) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, Phase.Leaf, true);
        NodeRecord.Node memory node = Leaf.verifyNode(leaf, models.get(claim.modelId), _node(dispute), dispute.loState);
        Leaf.requireState(States.hash(stateAfter), dispute.hiState);
        if (States.isConsistent(node, leaf.stateBefore, stateAfter)) revert StatesConsistent(disputeId);
        emit InconsistencyProven(disputeId, dispute.lo);
        _challengerWins(disputeId, dispute, new address[](0));
    }

    /// @inheritdoc IDisputeGame
    function demand(DisputeId disputeId, LeafClaim calldata leaf, bool ofOutput, uint256 index, uint256 chunk)
        external
    {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, Phase.Leaf, false);
        if (dispute.demandsLeft == 0) revert NoDemandsLeft(disputeId);
        NodeRecord.Node memory node = Leaf.verifyNode(leaf, models.get(claim.modelId), _node(dispute), dispute.loState);

        if (ofOutput) Leaf.verifyOutputs(leaf, node, dispute.hiState);

        (bytes32 commitment, bytes memory packedType) = Leaf.demanded(leaf, node, ofOutput, index, chunk);
        bytes32 demanded = keccak256(abi.encode(commitment, packedType, chunk));
        dispute.demanded = demanded;
        --dispute.demandsLeft;
        _passTurn(dispute, Phase.Answer);
        emit ElementDemanded(disputeId, commitment, packedType, chunk, demanded);
    }

    /// @inheritdoc IDisputeGame
    function answer(
        DisputeId disputeId,
        bytes32 commitment,
        bytes calldata tensorType,
        uint256 chunk,
        bytes calldata data,
        bytes32[] calldata path
    ) external {
        (Dispute storage dispute,) = _gate(disputeId, Phase.Answer, false);
        bytes32 demanded = keccak256(abi.encode(commitment, tensorType, chunk));
        if (demanded != dispute.demanded) revert DemandMismatch(demanded, dispute.demanded);
        bytes32 dataRoot = TensorProof.chunkRoot(chunk, data, path, TensorProof.height(NodeRecord.unpack(tensorType)));
        if (TensorProof.commitment(tensorType, dataRoot) != commitment) revert OpeningMismatch(commitment);
        delete dispute.demanded;
        _passTurn(dispute, Phase.Leaf);
        emit ElementOpened(disputeId, commitment, chunk, data, path);
    }

    /// @inheritdoc IDisputeGame
    function escalate(DisputeId disputeId, uint32 lo, uint32 hi) external {
        Phase phase = _known(disputeId).phase;
        if (phase != Phase.Select && phase != Phase.Defence) phase = Phase.Leaf;
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _gate(disputeId, phase, false);
        // INVARIANT: what is put to the vote is the segment that its sender saw.
        _requireSegment(dispute, lo, hi);
        // INVARIANT: a member replays one step of the model at most.
        if (hi - lo > dispute.nodeCount) revert SegmentTooLong(lo, hi);
        _passTurn(dispute, Phase.Vote);
        emit Escalated(disputeId, lo, hi);
        committee.convene(disputeId, claim.prover, dispute.challenger, claim.claimedAt);
    }

    /// @inheritdoc IDisputeGame
    function winBySums(DisputeId disputeId, Phase required) external {
        _requireSumGame();
        (Dispute storage dispute,) = _gate(disputeId, required, true);
        _challengerWins(disputeId, dispute, new address[](0));
    }

    /// @inheritdoc IDisputeGame
    function settleVote(DisputeId disputeId) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _inPlay(disputeId);
        _requirePhase(disputeId, dispute, Phase.Vote);
        (IOperatorCommittee.Verdict verdict, address[] memory rewarded) = committee.tally(disputeId);
        // INVARIANT: every panel that was asked for decides, so that nobody draws again for nothing.
        if (verdict == IOperatorCommittee.Verdict.Accept) {
            _proverWins(disputeId, dispute, claim.prover, rewarded);
        } else if (verdict == IOperatorCommittee.Verdict.NoQuorum) {
            _refund(disputeId, dispute, Outcome.Undecided);
        } else if (claim.refuted) {
            _refund(disputeId, dispute, Outcome.Moot);
        } else {
            _challengerWins(disputeId, dispute, rewarded);
        }
    }

    /// @inheritdoc IDisputeGame
    function timeout(DisputeId disputeId) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _inPlay(disputeId);
        if (claim.refuted) revert ClaimRefutedElsewhere(dispute.claimId);
        if (!Clock.hasPassed(_deadline(dispute))) revert ClockRunning(disputeId);
        address[] memory nobody = new address[](0);
        if (_isProversTurn(dispute)) _challengerWins(disputeId, dispute, nobody);
        else _proverWins(disputeId, dispute, claim.prover, nobody);
    }

    /// @inheritdoc IDisputeGame
    function close(DisputeId disputeId) external {
        (Dispute storage dispute, IClaimRegistry.Standing memory claim) = _inPlay(disputeId);
        if (!claim.refuted) revert ClaimNotRefuted(dispute.claimId);
        if (dispute.phase == Phase.Vote) revert VoteRunning(disputeId);
        _refund(disputeId, dispute, Outcome.Moot);
    }

    /// @inheritdoc IDisputeGame
    function idOf(ClaimId claimId, address challenger) public view returns (DisputeId) {
        return DisputeId.wrap(keccak256(abi.encode(Tags.DISPUTE, block.chainid, address(this), claimId, challenger)));
    }

    /// @inheritdoc IDisputeGame
    function verifyLeaf(DisputeId disputeId, LeafClaim calldata leaf)
        external
        view
        returns (address adjudicator, IAdjudicator.Leaf memory committed)
    {
        Dispute storage dispute = _known(disputeId);
        return _operator(dispute, models.get(claims.standingOf(dispute.claimId).modelId), leaf);
    }

    /// @inheritdoc IDisputeGame
    function parameters() external view returns (Parameters memory) {
        return Parameters({
            fanOut: _fanOut,
            challengerBond: _challengerBond,
            burnShareBps: _burnShareBps,
            proverClock: _proverClock,
            challengerClock: _challengerClock,
            maxDemands: _maxDemands
        });
    }

    // The segment

    /// @dev Steps or operators: what the present segment is cut into.
    function _unit(Dispute storage dispute) private view returns (uint256) {
        return Partition.unit(dispute.lo, dispute.hi, dispute.nodeCount);
    }

    function _requireSegment(Dispute storage dispute, uint32 lo, uint32 hi) private view {
        if (lo != dispute.lo || hi != dispute.hi) revert SegmentMismatch(dispute.lo, dispute.hi);
    }

    /// @dev The node of the graph that operator `lo` of the run is.
    function _node(Dispute storage dispute) private view returns (uint32) {
        return dispute.lo % dispute.nodeCount;
    }

    /// @dev Who decides the operator in dispute, and what is committed about it.
    function _operator(Dispute storage dispute, IModelRegistry.Model memory model, LeafClaim calldata leaf)
        private
        view
        returns (address adjudicator, IAdjudicator.Leaf memory committed)
    {
        bytes4 operator;
        (operator, committed) = Leaf.verify(leaf, model, _node(dispute), dispute.loState, dispute.hiState);
        adjudicator = adjudicatorOf[operator];
        if (adjudicator == address(0)) revert NoAdjudicator(operator);
    }

    /// @return next The phase in which the new segment is argued.
    function _setSegment(Dispute storage dispute, uint32 lo, uint32 hi, bytes32 loState, bytes32 hiState)
        private
        returns (Phase next)
    {
        dispute.lo = lo;
        dispute.hi = hi;
        dispute.loState = loState;
        dispute.hiState = hiState;
        return hi - lo == 1 ? Phase.Leaf : Phase.Reveal;
    }

    // The end

    function _challengerWins(DisputeId disputeId, Dispute storage dispute, address[] memory members) private {
        _end(disputeId, dispute, Outcome.ChallengerWon);
        claims.refute(dispute.claimId, dispute.challenger, members, _memberFee);
        vault.credit(DisputeId.unwrap(disputeId), dispute.challenger, _challengerBond);
    }

    function _proverWins(DisputeId disputeId, Dispute storage dispute, address prover, address[] memory members)
        private
    {
        _end(disputeId, dispute, Outcome.ProverWon);
        claims.disputeClosed(dispute.claimId);
        bytes32 lockId = DisputeId.unwrap(disputeId);
        Settlement.distribute(vault, lockId, _challengerBond, _burnShareBps, prover, members, _memberFee);
    }

    function _refund(DisputeId disputeId, Dispute storage dispute, Outcome outcome) private {
        _end(disputeId, dispute, outcome);
        claims.disputeClosed(dispute.claimId);
        vault.credit(DisputeId.unwrap(disputeId), dispute.challenger, _challengerBond);
    }

    function _end(DisputeId disputeId, Dispute storage dispute, Outcome outcome) private {
        dispute.phase = Phase.Closed;
        dispute.outcome = outcome;
        emit DisputeClosed(disputeId, dispute.claimId, outcome);
    }
}
