// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import { Ball } from "./Ball.sol";
import { Float32Dot } from "./Float32Dot.sol";
import { Rounding } from "./Rounding.sol";

/// @dev What is known of an element's exact value S and of tau, which no conforming device's float64 result f is further
/// away from S than. All in units of 2^exp; mid, rad and most are below 2^252 together.
/// @param mid S is in [mid - rad, mid + rad].
/// @param least A lower bound of tau.
/// @param most An upper bound of tau.
struct Zone {
    int256 mid;
    uint256 rad;
    uint256 least;
    uint256 most;
    int256 exp;
}

using Zones for Zone global;

/// @title What the rounding of an element to FP32 may be, and whether it had to be logged (docs/protocol.md, section 7).
/// @notice With u = 2^-53, tau is c u |S| for an elementary function, and 0 for a correctly rounded sum or operation.
library Zones {
    /// @dev u |S| is a whole number of units of a ball divided by 2^60.
    uint256 private constant BALL_DIGITS = 60;
    uint256 private constant BALL_ROUNDOFF = 7; // log2 of u in them

    /// @notice Of a sum of products of FP32 numbers made with this window, of which at most `skipped` are below. Where
    /// they are computed and not given, there are fewer than 2^32 lanes, and nothing here runs over.
    function ofDot(Float32Dot.Sum memory sum, uint256 skipped, uint256 window)
        internal
        pure
        returns (Zone memory zone)
    {
        unchecked {
            zone.mid = int256(sum.positive) - int256(sum.negative);
            zone.rad = skipped << 47; // each is less than 2^47 units
            zone.exp = int256(window) - 300;
        }
    }

    /// @notice Likewise of a sum of RowSums, of whose terms at most `skipped` are below its window.
    function ofRow(Ball memory value, uint256 skipped) internal pure returns (Zone memory zone) {
        (zone.mid, zone.rad, zone.exp) = (value.mid, skipped << 23, value.exp); // each is less than 2^23 units
    }

    /// @notice Of a value in a ball, computed to c units in the 53rd digit: tau = c u |S|.
    function ofBall(Ball memory value, uint256 c) internal pure returns (Zone memory zone) {
        unchecked {
            uint256 size = SignedMath.abs(value.mid);
            zone.mid = value.mid << BALL_DIGITS;
            zone.rad = value.rad << BALL_DIGITS;
            if (size > value.rad) zone.least = (size - value.rad) * c << BALL_ROUNDOFF;
            zone.most = (size + value.rad) * c << BALL_ROUNDOFF;
            zone.exp = value.exp - int256(BALL_DIGITS);
        }
    }

    /// @notice Of the float64 number mid * 2^exp that every device computes.
    function ofResult(int256 mid, int256 exp) internal pure returns (Zone memory zone) {
        zone.mid = mid;
        zone.exp = exp;
    }

    /// @notice Of an infinite result.
    function ofInfinity(bool negative) internal pure returns (Zone memory) {
        return ofResult(negative ? -1 : int256(1), 1 << 10);
    }

    /// @notice Whether no number of [S - tau, S + tau] rounds to y.
    function excludes(Zone memory zone, uint32 y) internal pure returns (bool) {
        unchecked {
            int256 claimed = Rounding.order(y);
            int256 reach = int256(zone.rad + zone.most);
            return claimed < Rounding.nearest(zone.mid - reach, zone.exp)
                || claimed > Rounding.nearest(zone.mid + reach, zone.exp);
        }
    }

    /// @notice Whether RN(S - tau) differs from RN(S + tau), wherever in their bounds S and tau are.
    function isSplit(Zone memory zone) internal pure returns (bool) {
        unchecked {
            int256 reach = int256(zone.least) - int256(zone.rad);
            return Rounding.nearest(zone.mid - reach, zone.exp) < Rounding.nearest(zone.mid + reach, zone.exp);
        }
    }
}
