// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

interface VmFiles {
    function readFile(string calldata path) external view returns (string memory);
    function parseBytes(string calldata text) external pure returns (bytes memory);
}

/// @dev Deploys a contract as Ape built it and as it is deployed elsewhere: `make setup` leaves its code where this finds
/// it. Reverts as the constructor does.
/// @param arguments Of the constructor, encoded.
function deploy(string memory name, bytes memory arguments) returns (address deployed) {
    VmFiles files = VmFiles(address(uint160(uint256(keccak256("hevm cheat code")))));
    string memory built = files.readFile(string.concat(".forge/creation/", name));
    bytes memory code = bytes.concat(files.parseBytes(built), arguments);
    assembly ("memory-safe") {
        deployed := create(0, add(code, 32), mload(code))
        if iszero(deployed) {
            returndatacopy(0, 0, returndatasize())
            revert(0, returndatasize())
        }
    }
}
