// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "./Ball.sol";
import { Limits } from "./Limits.sol";

/// @param value The exact value f of an output element.
/// @param tolerance tau: every kernel that the rule speaks of is within it.
/// @param largest What no intermediate result of such a kernel exceeds in magnitude.
struct Bound {
    Ball value;
    Ball tolerance;
    Ball largest;
}

using Bounds for Bound global;

/// @title What every rule about rounded sums ends in: |y - f| <= tau for the claimed FP32 element y.
library Bounds {
    int256 internal constant UNIT_ROUNDOFF = -24; // log2 u
    int256 internal constant SMALLEST_NORMAL = -126; // log2 MIN
    int256 private constant OVERFLOW = 127; // log2 of what no order of evaluation may reach

    /// @notice Whether y is proven to differ from f by more than tau; or to be infinite or NaN where nothing overflows.
    function refutes(Bound memory bound, uint32 y) internal pure returns (bool) {
        if (Limits.isFinite(y)) return Balls.isOutside(y, bound.value, bound.tolerance);
        return Balls.exact(1, OVERFLOW).exceeds(bound.largest);
    }

    /// @notice gamma_n = n u / (1 - n u), for n < 2^24 (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1).
    function gamma(uint256 n) internal pure returns (Ball memory) {
        return Balls.exact(int256(n), 0).div(Balls.exact(int256((1 << 24) - n), 0));
    }

    /// @notice n u.
    function roundoffs(uint256 n) internal pure returns (Ball memory) {
        return Balls.exact(int256(n), UNIT_ROUNDOFF);
    }

    /// @notice n MIN.
    function minima(uint256 n) internal pure returns (Ball memory) {
        return Balls.exact(int256(n), SMALLEST_NORMAL);
    }

    /// @notice a + a 2^-7, for second-order terms.
    function inflate(Ball memory a) internal pure returns (Ball memory) {
        return a.add(a.mulPow2(-7));
    }
}
