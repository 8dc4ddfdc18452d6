// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ClaimId, Duration, ModelId, RequestId, Timestamp } from "../types/Types.sol";
import { IBondVault } from "./IBondVault.sol";
import { IModelRegistry } from "./IModelRegistry.sol";

/// @title Requests, claims, the challenge window and finality.
///
///   request --claim--> Pending --open dispute--> Disputed --closed--> Pending
///                         |                         |
///                  window over, finalise         refuted
///                         v                         v
///                     Finalised                  Refuted  (the request is open again)
///
/// @notice A claim says: model `modelId`, run on the values committed in the input state, gave the values
/// committed in the output state, and passed through the states under `checkpointRoot` where it has several steps.
/// Its status is derived from the time and the number of open disputes.
interface IClaimRegistry {
    enum Status {
        Unknown,
        Pending,
        Disputed,
        Finalisable,
        Finalised,
        Refuted
    }

    /// @param inputRoot State hash before the first operator.
    /// @param outputRoot State hash after the last operator.
    /// @param checkpointRoot Root of the tree over the steps + 1 state hashes at the ends of the steps; zero iff the
    /// model has one step. Nobody checks its first and last leaf: the ends of the run are the two roots above.
    /// @param requestId The request this claim serves, zero for none.
    /// @param openDisputes Disputes of this claim that have not ended; 65,535 at most, which with the fields
    /// around it fills one storage slot.
    struct Claim {
        ModelId modelId;
        bytes32 inputRoot;
        bytes32 outputRoot;
        bytes32 checkpointRoot;
        RequestId requestId;
        address prover;
        Timestamp claimedAt;
        uint16 openDisputes;
        bool refuted;
        bool finalised;
    }

    /// @dev What every move of a dispute asks of its claim: two storage slots of the claim's six.
    struct Standing {
        ModelId modelId;
        address prover;
        Timestamp claimedAt;
        bool refuted;
    }

    /// @param activeClaim The claim now serving the request, zero when it is open.
    struct Request {
        ModelId modelId;
        bytes32 inputRoot;
        address client;
        uint256 fee;
        ClaimId activeClaim;
        bool closed;
    }

    /// @param window How long after a claim a dispute may be opened.
    /// @param proverBond What a claim locks, exactly.
    /// @param burnShareBps Share of a lost bond that is burned, in 1/10,000.
    struct Parameters {
        Duration window;
        uint256 proverBond;
        uint16 burnShareBps;
    }

    event RequestPosted(
        RequestId indexed requestId, ModelId indexed modelId, address indexed client, uint256 fee, bytes32[] inputs
    );
    event RequestCancelled(RequestId indexed requestId);
    event Claimed(
        ClaimId indexed claimId,
        ModelId indexed modelId,
        address indexed prover,
        RequestId requestId,
        bytes32[] inputs,
        bytes32[] outputs,
        bytes32 checkpointRoot
    );
    event ClaimFinalised(ClaimId indexed claimId);
    event ClaimRefuted(ClaimId indexed claimId, address indexed challenger);

    error UnknownClaim(ClaimId claimId);
    error UnknownRequest(RequestId requestId);
    error DuplicateClaim(ClaimId claimId);
    error DuplicateRequest(RequestId requestId);
    /// @notice The request is being served, was served, or was cancelled.
    error RequestNotOpen(RequestId requestId);
    /// @notice The claim's model or inputs are not those of the request.
    error RequestMismatch(RequestId requestId);
    /// @notice The bond must be exact.
    error WrongBond(uint256 sent, uint256 required);
    error WrongValueCount(uint256 given, uint256 required);
    /// @notice A run of one step has no checkpoints and one of several steps has.
    error WrongCheckpoints(bytes32 checkpointRoot, uint32 steps);
    error NotClient(address caller, address client);
    error NotDisputeGame(address caller);
    error NotFinalisable(ClaimId claimId, Status status);
    error NotChallengeable(ClaimId claimId, Status status);
    error InvalidConfiguration(string reason);

    /// @notice Ask for one run of a model on the given input commitments; the sent ether is the fee.
    /// @param salt Makes equal requests of one client distinct.
    function request(ModelId modelId, bytes32[] calldata inputs, uint256 salt) external payable returns (RequestId);

    /// @notice Withdraw an unserved request; the fee becomes the client's credit.
    function cancel(RequestId requestId) external;

    /// @notice Claim an output under the exact bond. `requestId` zero serves nobody in particular.
    /// @param checkpointRoot See Claim.
    function claim(
        ModelId modelId,
        RequestId requestId,
        bytes32[] calldata inputs,
        bytes32[] calldata outputs,
        bytes32 checkpointRoot
    ) external payable returns (ClaimId);

    /// @notice End an undisputed claim after its window: bond and fee become the prover's credit.
    function finalise(ClaimId claimId) external;

    /// @notice DisputeGame only: a dispute opens. Reverts unless the claim is challengeable now.
    function disputeOpened(ClaimId claimId) external;

    /// @notice DisputeGame only: a dispute ended without refuting the claim.
    function disputeClosed(ClaimId claimId) external;

    /// @notice DisputeGame only: a dispute ended against the prover. The bond pays the burned share,
    /// `fee` to each of `members`, and the rest to the challenger.
    function refute(ClaimId claimId, address challenger, address[] calldata members, uint256 fee) external;

    /// @notice Unknown for an id that names no claim; the views below revert with UnknownClaim or UnknownRequest.
    function statusOf(ClaimId claimId) external view returns (Status);

    function getClaim(ClaimId claimId) external view returns (Claim memory);

    /// @notice The claim without its roots.
    function standingOf(ClaimId claimId) external view returns (Standing memory);

    function getRequest(RequestId requestId) external view returns (Request memory);

    /// @notice Last second at which a dispute may be opened.
    function windowEnd(ClaimId claimId) external view returns (Timestamp);

    function parameters() external view returns (Parameters memory);

    function vault() external view returns (IBondVault);

    function models() external view returns (IModelRegistry);

    function disputeGame() external view returns (address);
}
