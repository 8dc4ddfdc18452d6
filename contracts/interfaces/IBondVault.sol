// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The only contract that holds ether.
/// @notice Ether enters as a lock of the calling contract, leaves a lock as somebody's credit or as
/// burned ether, and leaves the vault only when the credited account pulls it.
///
/// Locks are named by (controller, lockId) where the controller is the caller: a contract reaches its
/// own locks and no others, so the vault needs no list of trusted callers and no owner.
///
/// Invariant: locked + credited + burned = deposited - withdrawn = balance (unless ether was forced in).
interface IBondVault {
    event Locked(address indexed controller, bytes32 indexed lockId, uint256 amount);
    event Credited(address indexed controller, bytes32 indexed lockId, address indexed account, uint256 amount);
    event Burned(address indexed controller, bytes32 indexed lockId, uint256 amount);
    event Withdrawn(address indexed account, address indexed recipient, uint256 amount);

    /// @notice The lock holds less than was asked of it.
    error InsufficientLock(address controller, bytes32 lockId, uint256 held, uint256 asked);
    /// @notice The caller has no credit to withdraw.
    error NothingToWithdraw(address account);
    /// @notice The recipient refused the ether; the credit is untouched, name another recipient.
    error TransferFailed(address recipient, uint256 amount);
    /// @notice A lock or a credit of zero wei, or a credit to the zero address.
    error EmptyTransfer();

    /// @notice Add the sent ether to the caller's lock `lockId`.
    function lock(bytes32 lockId) external payable;

    /// @notice Move `amount` from the caller's lock to the withdrawable credit of `account`.
    function credit(bytes32 lockId, address account, uint256 amount) external;

    /// @notice Move `amount` from the caller's lock out of everybody's reach.
    function burn(bytes32 lockId, uint256 amount) external;

    /// @notice Send the caller's whole credit to `recipient`.
    function withdraw(address payable recipient) external returns (uint256 amount);

    function lockedOf(address controller, bytes32 lockId) external view returns (uint256);

    function creditOf(address account) external view returns (uint256);

    function totalLocked() external view returns (uint128);

    function totalCredited() external view returns (uint128);

    function totalBurned() external view returns (uint256);
}
