// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Domain tags: every hash of the protocol starts with one, so no hash can pass for another kind.
library Tags {
    bytes32 internal constant TENSOR = keccak256("TAO.tensor.v1");
    bytes32 internal constant STATE = keccak256("TAO.state.v1");
    bytes32 internal constant NODE = keccak256("TAO.node.v1");
    bytes32 internal constant TOLERANCE = keccak256("TAO.tolerance.v1");
    bytes32 internal constant MODEL = keccak256("TAO.model.v1");
    bytes32 internal constant REQUEST = keccak256("TAO.request.v1");
    bytes32 internal constant CLAIM = keccak256("TAO.claim.v1");
    bytes32 internal constant DISPUTE = keccak256("TAO.dispute.v1");
    bytes32 internal constant SUMS = keccak256("TAO.sums.v1");
    bytes32 internal constant PARTIALS = keccak256("TAO.partials.v1");
    bytes32 internal constant RECORDED = keccak256("TAO.recorded.v1");
    bytes32 internal constant VOTE = keccak256("TAO.vote.v1");
    bytes32 internal constant DRAW = keccak256("TAO.draw.v1");
}
