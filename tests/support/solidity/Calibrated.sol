// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev An ICalibratedAdjudicator that believes its proof: abi.encode(measured multiple in units of 2^-16).
contract Calibrated {
    struct Leaf {
        bytes record;
        bytes32[] stateBefore;
        bytes32[] outputs;
        bytes32 weightsRoot;
        uint256 parameterCount;
    }

    function operators() external pure returns (bytes4[] memory list) {
        list = new bytes4[](1);
        list[0] = bytes4(keccak256("test.calibrated"));
    }

    function refutes(Leaf calldata, bytes calldata) external pure returns (bool) {
        return false;
    }

    function exceeds(Leaf calldata, bytes calldata proof, uint32 theta) external pure returns (bool) {
        return abi.decode(proof, (uint256)) > theta;
    }
}
