// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "./IAdjudicator.sol";

/// @title Decides whether one element deviates by more than honest kernels do on ordinary data.
/// @notice The calibrated bound is no proof of a wrong element: inputs chosen for it take honest kernels beyond it. So it
/// accuses and never refutes (docs/protocol.md, section 4).
interface ICalibratedAdjudicator {
    /// @notice True iff `proof` shows that the claimed element y deviates from the exact sum S of its n products (the
    /// bias is one) by more than theta u sqrt(n) ||products||_2 and what flushing subnormals may cost; u = 2^-24.
    /// @dev Reverts where `IAdjudicator.refutes` does. A y that is not finite, and a theta of 0, exceed nothing.
    /// @param leaf The leaf, as for `IAdjudicator.refutes`.
    /// @param proof The proof, likewise.
    /// @param theta Calibrated constant of the operator as a fixed-point number of 16 fractional bits; 0 is none.
    function exceeds(IAdjudicator.Leaf calldata leaf, bytes calldata proof, uint32 theta) external view returns (bool);
}
