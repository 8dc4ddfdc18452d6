// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Content-derived identifier of a registered model.
type ModelId is bytes32;

/// @dev Content-derived identifier of a client's request.
type RequestId is bytes32;

/// @dev Identifier of a prover's claim; hashes every field, the prover, the chain and the registry.
type ClaimId is bytes32;

/// @dev Identifier of one challenger's dispute of one claim.
type DisputeId is bytes32;

/// @dev Seconds since the Unix epoch.
type Timestamp is uint64;

/// @dev Seconds.
type Duration is uint64;

/// @dev First four bytes of keccak256 of a canonical operator's name, such as "contraction".
type Operator is bytes4;

using { neqModel as != } for ModelId global;
using { neqClaim as != } for ClaimId global;
using { neqRequest as != } for RequestId global;

function neqModel(ModelId a, ModelId b) pure returns (bool) {
    return ModelId.unwrap(a) != ModelId.unwrap(b);
}

function neqClaim(ClaimId a, ClaimId b) pure returns (bool) {
    return ClaimId.unwrap(a) != ClaimId.unwrap(b);
}

function neqRequest(RequestId a, RequestId b) pure returns (bool) {
    return RequestId.unwrap(a) != RequestId.unwrap(b);
}
