// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import { Ball } from "./Ball.sol";
import { Float32Dot } from "./Float32Dot.sol";
import { Rounding } from "./Rounding.sol";
import { RowSums } from "./RowSums.sol";

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
/// @notice With u = 2^-53 and gamma_n = n u / (1 - n u), tau is gamma_(n-1) T for a sum of n exact terms, T the sum of
/// their magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 4.2): products of FP32 numbers are exact
/// in float64, and nothing underflows. It is c u |S| for an elementary function, and 0 for one correctly rounded
/// operation.
library Zones {
    /// @dev 2^53.
    uint256 private constant SCALE = 1 << 53;

    /// @dev Sums are in units of their own, divided by 2^64, so that tau is not lost in one of them.
    uint256 private constant SUM_DIGITS = 64;

    /// @dev u |S| is a whole number of units of a ball divided by 2^60.
    uint256 private constant BALL_DIGITS = 60;
    uint256 private constant BALL_ROUNDOFF = 7; // log2 of u in them

    /// @notice Of the sum of `terms` products of FP32 numbers, at most 2^17 of them, made with this window.
    function ofDot(Float32Dot.Sum memory sum, uint256 terms, uint256 window) internal pure returns (Zone memory) {
        unchecked {
            // No product is below the lowest window, and below others each is less than 2^47 units.
            uint256 skipped = window == Float32Dot.MIN_WINDOW ? 0 : terms << 47;
            int256 value = int256(sum.positive) - int256(sum.negative);
            return _ofSum(value, sum.positive + sum.negative, skipped, terms, int256(window) - 300);
        }
    }

    /// @notice Of the sum of `terms` FP32 numbers.
    function ofRow(RowSums.Sums memory sums, uint256 terms) internal pure returns (Zone memory) {
        Ball memory magnitude = sums.magnitude;
        return _ofSum(sums.value.mid, uint256(magnitude.mid), magnitude.rad, terms, magnitude.exp);
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

    /// @dev A sum of counted terms, and of others that `skipped` is a bound of. Sums are below 2^129, skipped below 2^66.
    function _ofSum(int256 sum, uint256 magnitude, uint256 skipped, uint256 terms, int256 exp)
        private
        pure
        returns (Zone memory zone)
    {
        unchecked {
            zone.mid = sum << SUM_DIGITS;
            zone.rad = skipped << SUM_DIGITS;
            zone.exp = exp - int256(SUM_DIGITS);
            if (terms < 2) return zone;
            uint256 additions = terms - 1;
            // gamma_n = n / (2^53 - n)
            zone.least = (magnitude << SUM_DIGITS) * additions / (SCALE - additions);
            zone.most = ((magnitude + skipped) << SUM_DIGITS) * additions / (SCALE - additions) + 1;
        }
    }
}
