// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IBondVault } from "../interfaces/IBondVault.sol";

/// @title What becomes of a lost bond: a share is burned, the voters are paid, the winner gets the rest.
library Settlement {
    uint256 internal constant BASIS_POINTS = 10_000;

    /// @notice The burned part of a lost bond, rounded down.
    function burned(uint256 bond, uint256 shareBps) internal pure returns (uint256) {
        return (bond * shareBps) / BASIS_POINTS;
    }

    /// @notice Whether a lost bond burns something, pays every member and leaves something to the winner.
    function covers(uint256 bond, uint256 shareBps, uint256 members, uint256 fee) internal pure returns (bool) {
        uint256 share = burned(bond, shareBps);
        return share > 0 && bond > share + members * fee;
    }

    /// @notice Pay out the caller's lock `lockId`, which holds the lost `bond`.
    function distribute(
        IBondVault vault,
        bytes32 lockId,
        uint256 bond,
        uint256 shareBps,
        address winner,
        address[] memory members,
        uint256 fee
    ) internal {
        uint256 share = burned(bond, shareBps);
        vault.burn(lockId, share);
        for (uint256 i = 0; i < members.length; ++i) {
            vault.credit(lockId, members[i], fee);
        }
        vault.credit(lockId, winner, bond - share - members.length * fee);
    }
}
