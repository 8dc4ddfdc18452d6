// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { IBondVault } from "./interfaces/IBondVault.sol";

/// @title BondVault
/// @dev Documented in IBondVault.
contract BondVault is IBondVault {
    mapping(address controller => mapping(bytes32 lockId => uint256)) private _locked;
    mapping(address account => uint256) private _credits;

    // The two that nearly every call changes share a slot; there are less than 2^87 wei.
    /// @inheritdoc IBondVault
    uint128 public totalLocked;
    /// @inheritdoc IBondVault
    uint128 public totalCredited;
    /// @inheritdoc IBondVault
    uint256 public totalBurned;

    /// @inheritdoc IBondVault
    function lock(bytes32 lockId) external payable {
        if (msg.value == 0) revert EmptyTransfer();
        _locked[msg.sender][lockId] += msg.value;
        totalLocked += SafeCast.toUint128(msg.value);
        emit Locked(msg.sender, lockId, msg.value);
    }

    /// @inheritdoc IBondVault
    function credit(bytes32 lockId, address account, uint256 amount) external {
        if (account == address(0) || amount == 0) revert EmptyTransfer();
        _release(lockId, amount);
        _credits[account] += amount;
        totalCredited += SafeCast.toUint128(amount);
        emit Credited(msg.sender, lockId, account, amount);
    }

    /// @inheritdoc IBondVault
    function burn(bytes32 lockId, uint256 amount) external {
        _release(lockId, amount);
        totalBurned += amount;
        emit Burned(msg.sender, lockId, amount);
    }

    /// @inheritdoc IBondVault
    function withdraw(address payable recipient) external returns (uint256 amount) {
        amount = _credits[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        // INVARIANT: the credit is gone before the recipient's code runs, so entering again finds nothing.
        delete _credits[msg.sender];
        totalCredited -= SafeCast.toUint128(amount);
        emit Withdrawn(msg.sender, recipient, amount);
        (bool sent,) = recipient.call{ value: amount }("");
        if (!sent) revert TransferFailed(recipient, amount);
    }

    /// @inheritdoc IBondVault
    function lockedOf(address controller, bytes32 lockId) external view returns (uint256) {
        return _locked[controller][lockId];
    }

    /// @inheritdoc IBondVault
    function creditOf(address account) external view returns (uint256) {
        return _credits[account];
    }

    function _release(bytes32 lockId, uint256 amount) private {
        uint256 held = _locked[msg.sender][lockId];
        // INVARIANT: a lock pays out no more than was put in; other locks cannot be reached.
        if (amount > held) revert InsufficientLock(msg.sender, lockId, held, amount);
        _locked[msg.sender][lockId] = held - amount;
        totalLocked -= SafeCast.toUint128(amount);
    }
}
