// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

interface VmArtifacts {
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// @dev Deploys a contract as it was compiled for itself. With `new`, each test would contain, and optimise, a copy of its
/// own, which takes most of a compilation. Reverts as the constructor does.
/// @param arguments Of the constructor, encoded.
function deploy(string memory name, bytes memory arguments) returns (address deployed) {
    VmArtifacts artifacts = VmArtifacts(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes memory code = bytes.concat(artifacts.getCode(string.concat(name, ".sol:", name)), arguments);
    assembly ("memory-safe") {
        deployed := create(0, add(code, 32), mload(code))
        if iszero(deployed) {
            returndatacopy(0, 0, returndatasize())
            revert(0, returndatasize())
        }
    }
}
