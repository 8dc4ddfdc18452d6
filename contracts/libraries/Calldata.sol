// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Proofs read in place: decoding into memory would copy all lanes.
library Calldata {
    error MalformedProof();

    /// @notice Calldata position of the struct that is all of an ABI encoding, one of a dynamic type.
    /// @param least Bytes of the shortest such encoding.
    function dynamicStruct(bytes calldata encoded, uint256 least) internal pure returns (uint256 position) {
        // INVARIANT: the encoding is that of one dynamic struct; its members are checked where they are read.
        if (encoded.length < least || bytes32(encoded) != bytes32(uint256(0x20))) revert MalformedProof();
        assembly ("memory-safe") {
            position := add(encoded.offset, 0x20)
        }
    }
}
