// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev For harnesses that go through many cases in one call: what one of them allocated is given back.
library Memory {
    function free() internal pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := mload(0x40)
        }
    }

    function setFree(uint256 pointer) internal pure {
        assembly ("memory-safe") {
            mstore(0x40, pointer)
        }
    }
}
