// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Sends any call, so that a contract can be an actor of the game, and behaves badly when paid.
contract Actor {
    enum Manner {
        Accept,
        Refuse,
        Reenter,
        BurnGas
    }

    Manner public manner;
    address public target;
    bytes public again;
    uint256 public received;
    bool public reentered;

    constructor() payable { }

    function behave(Manner manner_, address target_, bytes calldata again_) external {
        manner = manner_;
        target = target_;
        again = again_;
    }

    function act(address to, bytes calldata data, uint256 value) external returns (bytes memory) {
        (bool done, bytes memory result) = to.call{ value: value }(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(result, 32), mload(result))
            }
        }
        return result;
    }

    receive() external payable {
        received += msg.value;
        if (manner == Manner.Refuse) revert("no thanks");
        if (manner == Manner.Reenter) (reentered,) = target.call(again);
        if (manner == Manner.BurnGas) while (true) { }
    }
}
