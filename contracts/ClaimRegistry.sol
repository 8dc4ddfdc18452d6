// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IBondVault } from "./interfaces/IBondVault.sol";
import { IClaimRegistry } from "./interfaces/IClaimRegistry.sol";
import { IModelRegistry } from "./interfaces/IModelRegistry.sol";
import { Clock } from "./libraries/Clock.sol";
import { Settlement } from "./libraries/Settlement.sol";
import { States } from "./libraries/States.sol";
import { Tags } from "./libraries/Tags.sol";
import { ClaimId, Duration, ModelId, RequestId, Timestamp } from "./types/Types.sol";

/// @title ClaimRegistry
/// @dev Documented in IClaimRegistry.
contract ClaimRegistry is IClaimRegistry {
    RequestId private constant NO_REQUEST = RequestId.wrap(0);
    ClaimId private constant NO_CLAIM = ClaimId.wrap(0);

    /// @inheritdoc IClaimRegistry
    IBondVault public immutable vault;
    /// @inheritdoc IClaimRegistry
    IModelRegistry public immutable models;
    /// @inheritdoc IClaimRegistry
    address public immutable disputeGame;

    Duration private immutable _window;
    uint256 private immutable _proverBond;
    uint16 private immutable _burnShareBps;

    mapping(ClaimId claimId => Claim) private _claims;
    mapping(RequestId requestId => Request) private _requests;

    modifier onlyDisputeGame() {
        if (msg.sender != disputeGame) revert NotDisputeGame(msg.sender);
        _;
    }

    /// @param disputeGame_ Address at which the dispute game will be deployed.
    constructor(IBondVault vault_, IModelRegistry models_, address disputeGame_, Parameters memory parameters_) {
        if (address(vault_).code.length == 0) revert InvalidConfiguration("vault has no code");
        if (address(models_).code.length == 0) revert InvalidConfiguration("model registry has no code");
        if (disputeGame_ == address(0)) revert InvalidConfiguration("dispute game is the zero address");
        if (!Clock.isSane(parameters_.window)) revert InvalidConfiguration("window is zero or above a year");
        if (parameters_.burnShareBps >= Settlement.BASIS_POINTS) revert InvalidConfiguration("burned share is all");
        // INVARIANT: losing always costs something, also when prover and challenger are one.
        if (Settlement.burned(parameters_.proverBond, parameters_.burnShareBps) == 0) {
            revert InvalidConfiguration("prover bond burns nothing");
        }
        vault = vault_;
        models = models_;
        disputeGame = disputeGame_;
        _window = parameters_.window;
        _proverBond = parameters_.proverBond;
        _burnShareBps = parameters_.burnShareBps;
    }

    /// @inheritdoc IClaimRegistry
    function request(ModelId modelId, bytes32[] calldata inputs, uint256 salt)
        external
        payable
        returns (RequestId requestId)
    {
        _requireCount(inputs.length, models.get(modelId).inputCount);
        bytes32 inputRoot = States.hash(inputs);
        requestId = RequestId.wrap(
            keccak256(
                abi.encode(Tags.REQUEST, block.chainid, address(this), modelId, inputRoot, msg.sender, msg.value, salt)
            )
        );
        if (_requests[requestId].client != address(0)) revert DuplicateRequest(requestId);
        _requests[requestId] = Request({
            modelId: modelId,
            inputRoot: inputRoot,
            client: msg.sender,
            fee: msg.value,
            activeClaim: NO_CLAIM,
            closed: false
        });
        emit RequestPosted(requestId, modelId, msg.sender, msg.value, inputs);
        if (msg.value > 0) vault.lock{ value: msg.value }(RequestId.unwrap(requestId));
    }

    /// @inheritdoc IClaimRegistry
    function cancel(RequestId requestId) external {
        Request storage request_ = _openRequest(requestId);
        if (msg.sender != request_.client) revert NotClient(msg.sender, request_.client);
        request_.closed = true;
        emit RequestCancelled(requestId);
        _payFee(requestId, msg.sender);
    }

    /// @inheritdoc IClaimRegistry
    function claim(
        ModelId modelId,
        RequestId requestId,
        bytes32[] calldata inputs,
        bytes32[] calldata outputs,
        bytes32 checkpointRoot
    ) external payable returns (ClaimId claimId) {
        if (msg.value != _proverBond) revert WrongBond(msg.value, _proverBond);
        IModelRegistry.Model memory model = models.get(modelId);
        _requireCount(inputs.length, model.inputCount);
        _requireCount(outputs.length, model.outputCount);
        // INVARIANT: the states between the steps of a run are bound before anybody asks for one.
        if ((checkpointRoot == 0) != (model.steps == 1)) revert WrongCheckpoints(checkpointRoot, model.steps);
        bytes32 inputRoot = States.hash(inputs);
        bytes32 outputRoot = States.hash(outputs);

        claimId = ClaimId.wrap(
            keccak256(
                abi.encode(
                    Tags.CLAIM,
                    block.chainid,
                    address(this),
                    modelId,
                    requestId,
                    inputRoot,
                    outputRoot,
                    checkpointRoot,
                    msg.sender
                )
            )
        );
        // INVARIANT: an id names one claim for ever, so a refuted claim cannot come back under it.
        if (_claims[claimId].prover != address(0)) revert DuplicateClaim(claimId);
        if (requestId != NO_REQUEST) {
            Request storage request_ = _openRequest(requestId);
            if (request_.modelId != modelId || request_.inputRoot != inputRoot) revert RequestMismatch(requestId);
            request_.activeClaim = claimId;
        }
        _claims[claimId] = Claim({
            modelId: modelId,
            inputRoot: inputRoot,
            outputRoot: outputRoot,
            checkpointRoot: checkpointRoot,
            requestId: requestId,
            prover: msg.sender,
            claimedAt: Clock.present(),
            openDisputes: 0,
            refuted: false,
            finalised: false
        });
        emit Claimed(claimId, modelId, msg.sender, requestId, inputs, outputs, checkpointRoot);
        vault.lock{ value: msg.value }(ClaimId.unwrap(claimId));
    }

    /// @inheritdoc IClaimRegistry
    function finalise(ClaimId claimId) external {
        // INVARIANT: a claim becomes final once, unrefuted, with its window over and no dispute open.
        Status status = statusOf(claimId);
        if (status != Status.Finalisable) revert NotFinalisable(claimId, status);
        Claim storage claim_ = _claims[claimId];
        claim_.finalised = true;
        emit ClaimFinalised(claimId);
        address prover = claim_.prover;
        vault.credit(ClaimId.unwrap(claimId), prover, _proverBond);
        RequestId requestId = claim_.requestId;
        if (requestId != NO_REQUEST) {
            _requests[requestId].closed = true;
            _payFee(requestId, prover);
        }
    }

    /// @inheritdoc IClaimRegistry
    function disputeOpened(ClaimId claimId) external onlyDisputeGame {
        // INVARIANT: no dispute opens after the window, whatever other disputes are open, and none of a
        // claim already refuted; so finality comes at the latest one dispute after the window.
        Status status = statusOf(claimId);
        bool isOpen = status == Status.Pending || status == Status.Disputed;
        if (!isOpen || Clock.hasPassed(windowEnd(claimId))) revert NotChallengeable(claimId, status);
        ++_claims[claimId].openDisputes;
    }

    /// @inheritdoc IClaimRegistry
    function disputeClosed(ClaimId claimId) external onlyDisputeGame {
        --_claims[claimId].openDisputes;
    }

    /// @inheritdoc IClaimRegistry
    function refute(ClaimId claimId, address challenger, address[] calldata members, uint256 fee)
        external
        onlyDisputeGame
    {
        Status status = statusOf(claimId);
        // INVARIANT: the bond of a claim is lost once.
        if (status != Status.Disputed) revert NotChallengeable(claimId, status);
        Claim storage claim_ = _claims[claimId];
        claim_.refuted = true;
        --claim_.openDisputes;
        RequestId requestId = claim_.requestId;
        if (requestId != NO_REQUEST) _requests[requestId].activeClaim = NO_CLAIM;
        emit ClaimRefuted(claimId, challenger);
        Settlement.distribute(vault, ClaimId.unwrap(claimId), _proverBond, _burnShareBps, challenger, members, fee);
    }

    /// @inheritdoc IClaimRegistry
    function statusOf(ClaimId claimId) public view returns (Status) {
        Claim storage claim_ = _claims[claimId];
        if (claim_.prover == address(0)) return Status.Unknown;
        if (claim_.refuted) return Status.Refuted;
        if (claim_.finalised) return Status.Finalised;
        if (claim_.openDisputes > 0) return Status.Disputed;
        return Clock.hasPassed(windowEnd(claimId)) ? Status.Finalisable : Status.Pending;
    }

    /// @inheritdoc IClaimRegistry
    function getClaim(ClaimId claimId) external view returns (Claim memory) {
        if (_claims[claimId].prover == address(0)) revert UnknownClaim(claimId);
        return _claims[claimId];
    }

    /// @inheritdoc IClaimRegistry
    function standingOf(ClaimId claimId) external view returns (Standing memory) {
        Claim storage claim_ = _claims[claimId];
        if (claim_.prover == address(0)) revert UnknownClaim(claimId);
        return Standing({
            modelId: claim_.modelId, prover: claim_.prover, claimedAt: claim_.claimedAt, refuted: claim_.refuted
        });
    }

    /// @inheritdoc IClaimRegistry
    function getRequest(RequestId requestId) external view returns (Request memory) {
        if (_requests[requestId].client == address(0)) revert UnknownRequest(requestId);
        return _requests[requestId];
    }

    /// @inheritdoc IClaimRegistry
    function windowEnd(ClaimId claimId) public view returns (Timestamp) {
        Claim storage claim_ = _claims[claimId];
        if (claim_.prover == address(0)) revert UnknownClaim(claimId);
        return Clock.deadline(claim_.claimedAt, _window);
    }

    /// @inheritdoc IClaimRegistry
    function parameters() external view returns (Parameters memory) {
        return Parameters({ window: _window, proverBond: _proverBond, burnShareBps: _burnShareBps });
    }

    function _openRequest(RequestId requestId) private view returns (Request storage request_) {
        request_ = _requests[requestId];
        if (request_.client == address(0)) revert UnknownRequest(requestId);
        // INVARIANT: at most one unrefuted claim serves a request, so its fee is paid once.
        if (request_.closed || request_.activeClaim != NO_CLAIM) revert RequestNotOpen(requestId);
    }

    function _payFee(RequestId requestId, address account) private {
        uint256 fee = _requests[requestId].fee;
        if (fee > 0) vault.credit(RequestId.unwrap(requestId), account, fee);
    }

    function _requireCount(uint256 given, uint256 required) private pure {
        if (given != required) revert WrongValueCount(given, required);
    }
}
