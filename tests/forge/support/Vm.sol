// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev The few cheat codes that these tests use.
interface Vm {
    function readFileBinary(string calldata path) external view returns (bytes memory);
    function expectRevert(bytes calldata reason) external;
    function expectPartialRevert(bytes4 selector) external;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @dev Deterministic random numbers.
struct Random {
    uint256 seed;
}

using { next, below } for Random global;

function next(Random memory random) pure returns (uint256) {
    random.seed = uint256(keccak256(abi.encode(random.seed)));
    return random.seed;
}

function below(Random memory random, uint256 count) pure returns (uint256) {
    return next(random) % count;
}
