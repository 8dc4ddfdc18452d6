// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Forces ether on an address that has no way to refuse it.
contract Forcer {
    constructor(address payable victim) payable {
        selfdestruct(victim);
    }
}
