// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball } from "./Ball.sol";

/// @title Sums of a row of FP32 numbers, exact but for terms below a window.
/// @notice A finite number is (-1)^s * m * 2^(e - 150) with m < 2^24 and 1 <= e <= 254 (subnormals and zero have e = 1).
/// Sums are integers in units of 2^(W - 150), where W is the window exponent: a term counts exactly where
/// W <= e <= W + 63. Below the window a term is less than 2^23 units and is skipped; above it the sum reverts. So each
/// counted term is below 2^87 units and 2^17 of them, a run's, stay below 2^104. A row may be made of several runs.
/// @dev W is a hint of the challenger. A window too low reverts, and one too high skips terms, which widens the balls,
/// so that a bad hint can only make a proof fail. W = 1 skips nothing.
library RowSums {
    /// @param value S = sum x_j.
    /// @param magnitude T = sum |x_j|.
    /// @param subnormal D, the sum of |x_j| over subnormal x_j, which kernels may take for zero.
    struct Sums {
        Ball value;
        Ball magnitude;
        Ball subnormal;
    }

    /// @dev Sums of counted terms: of those above zero, of the magnitudes of those below, of those of subnormal ones.
    struct Parts {
        uint256 positive;
        uint256 negative;
        uint256 subnormal;
    }

    /// @dev Lanes of a run, and of a row.
    uint256 internal constant MAX_LANES = 1 << 17;
    uint256 internal constant MAX_ROW = 1 << 21;
    uint256 internal constant MIN_WINDOW = 1;
    uint256 internal constant MAX_WINDOW = 254;

    /// @dev 1 in each of the eight 32-bit lanes of a word.
    uint256 private constant ONES = 0x0000000100000001000000010000000100000001000000010000000100000001;

    error TooManyLanes(uint256 lanes, uint256 maximum);
    error WindowOutOfRange(uint256 window);
    error WindowTooLow(uint256 window);
    error NonFiniteLane();

    /// @notice S, T and D of a run of big-endian FP32 numbers in calldata.
    /// @param run Calldata position of the run.
    /// @param lanes Length of the run in numbers.
    /// @param window Window exponent W.
    function sum(uint256 run, uint256 lanes, uint256 window) internal pure returns (Sums memory sums) {
        return enclose(partsOf(run, lanes, window), lanes, window);
    }

    /// @notice The sums of the counted terms of a run, as in `sum`: those of adjacent runs add up.
    function partsOf(uint256 run, uint256 lanes, uint256 window) internal pure returns (Parts memory parts) {
        // INVARIANT: the two halves of the packed accumulator cannot run over.
        if (lanes > MAX_LANES) revert TooManyLanes(lanes, MAX_LANES);
        if (window < MIN_WINDOW || window > MAX_WINDOW) revert WindowOutOfRange(window);
        unchecked {
            while (lanes != 0) {
                // Subnormals count where W is 1, and whole words are without them.
                uint256 words = window == MIN_WINDOW ? 0 : _addWords(parts, run, lanes / 8, window);
                run += 32 * words;
                lanes -= 8 * words;
                // The word that stopped the above, or the rest of the run.
                for (uint256 rest = lanes < 8 ? lanes : 8; rest != 0; --rest) {
                    _add(parts, run, window);
                    run += 4;
                    --lanes;
                }
            }
        }
    }

    /// @notice S, T and D of a row, from the sums of its counted terms.
    /// @param lanes Length of the row in numbers.
    /// @param window Window exponent with which the terms were counted.
    function enclose(Parts memory parts, uint256 lanes, uint256 window) internal pure returns (Sums memory sums) {
        // INVARIANT: the sums stay below 2^108 units, and the skipped terms of each ball below 2^44.
        if (lanes > MAX_ROW) revert TooManyLanes(lanes, MAX_ROW);
        unchecked {
            uint256 skipped = window == MIN_WINDOW ? 0 : lanes << 23;
            int256 exp = int256(window) - 150;
            sums.value = Ball(int256(parts.positive) - int256(parts.negative), skipped, exp);
            sums.magnitude = Ball(int256(parts.positive + parts.negative), skipped, exp);
            sums.subnormal = Ball(int256(parts.subnormal), skipped, exp);
        }
    }

    /// @dev Adds whole words of eight lanes, all lanes of a word at once as far as exponents and masks go. Stops before a
    /// word with an infinite or NaN lane, or one above the window. Subnormals and zero are below every window from 2 on.
    /// @return done Number of words added.
    function _addWords(Parts memory parts, uint256 run, uint256 words, uint256 window)
        private
        pure
        returns (uint256 done)
    {
        uint256 both; // positive terms in the lower half, negative ones in the upper
        assembly ("memory-safe") {
            let anchor := mul(ONES, sub(256, window))
            let at := run
            for { let end := add(run, shl(5, words)) } lt(at, end) { at := add(at, 32) } {
                let A := calldataload(at)
                let X := and(shr(24, A), mul(ONES, 0x80)) // the sign, as a shift by 128
                let G // 1 where the lane counts: not below the window
                {
                    let E := and(shr(23, A), mul(ONES, 0xff))
                    let D := add(E, anchor) // 256 + e - W, in [2, 509]
                    G := and(shr(8, D), ONES)
                    let odd := and(add(E, ONES), mul(ONES, 0x100)) // infinite or NaN
                    if or(odd, and(D, mul(G, 0xc0))) { break } // or above the window
                    X := or(X, and(D, mul(ONES, 0x3f)))
                }
                A := and(or(A, mul(ONES, 0x800000)), mul(G, 0xffffff))
                both := add(both, shl(byte(3, X), shr(224, A)))
                both := add(both, shl(byte(7, X), and(shr(192, A), 0xffffff)))
                both := add(both, shl(byte(11, X), and(shr(160, A), 0xffffff)))
                both := add(both, shl(byte(15, X), and(shr(128, A), 0xffffff)))
                both := add(both, shl(byte(19, X), and(shr(96, A), 0xffffff)))
                both := add(both, shl(byte(23, X), and(shr(64, A), 0xffffff)))
                both := add(both, shl(byte(27, X), and(shr(32, A), 0xffffff)))
                both := add(both, shl(byte(31, X), and(A, 0xffffff)))
            }
            done := shr(5, sub(at, run))
        }
        unchecked {
            parts.positive += uint128(both);
            parts.negative += both >> 128;
        }
    }

    /// @dev Adds one lane.
    function _add(Parts memory parts, uint256 at, uint256 window) private pure {
        uint256 bits;
        assembly ("memory-safe") {
            bits := shr(224, calldataload(at))
        }
        unchecked {
            uint256 term = bits & 0x7fffff;
            uint256 exponent = (bits >> 23) & 0xff;
            // INVARIANT: infinite and NaN lanes refute nothing.
            if (exponent == 255) revert NonFiniteLane();
            bool normal = exponent != 0;
            if (normal) term |= 0x800000;
            else exponent = 1;
            if (term == 0 || exponent < window) return;
            // INVARIANT: the window covers the largest term, so the sum is exact but for skipped small ones.
            if (exponent - window > 63) revert WindowTooLow(window);
            term <<= exponent - window;
            if (bits >> 31 == 0) parts.positive += term;
            else parts.negative += term;
            if (!normal) parts.subnormal += term;
        }
    }
}
