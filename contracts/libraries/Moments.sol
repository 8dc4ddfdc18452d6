// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "./Ball.sol";

/// @title Sums over a row of FP32 numbers: of the numbers, of their magnitudes and of their squares.
/// @notice A finite number is (-1)^s * m * 2^(e - 150) with m < 2^24 and 1 <= e <= 254 (subnormals and zero have
/// e = 1). Sums are integers in units of 2^(W - 150), and of their square, where W is the window exponent: a number
/// counts exactly where W <= e <= W + 63. Below the window it is less than 2^23 units; so much is added to the radii
/// for each of the row's numbers, but nothing where W = 1 leaves none out. Above the window the sums revert.
/// @dev W is a hint of the challenger. One too low reverts, and one too high makes the enclosures wide, so that a bad
/// hint can only make a proof fail.
library Moments {
    /// @param sum Encloses the sum of x_j.
    /// @param magnitude Encloses the sum of |x_j|.
    /// @param squares Encloses the sum of x_j^2.
    struct Sums {
        Ball sum;
        Ball magnitude;
        Ball squares;
    }

    /// @dev Sums of the counted numbers: of those above zero, of the magnitudes of those below, of all squares.
    struct Parts {
        uint256 positive;
        uint256 negative;
        uint256 squares;
    }

    /// @dev Lanes of a run, and of a row, which may be made of several.
    uint256 internal constant MAX_LANES = 1 << 20;
    uint256 internal constant MAX_ROW = 1 << 21;
    uint256 internal constant MIN_WINDOW = 1;
    uint256 internal constant MAX_WINDOW = 254;

    /// @dev 1 in each of the eight 32-bit lanes of a word.
    uint256 private constant ONES = 0x0000000100000001000000010000000100000001000000010000000100000001;

    error TooManyLanes(uint256 lanes, uint256 maximum);
    error WindowOutOfRange(uint256 window);
    error WindowTooLow(uint256 window);
    error NonFiniteLane();

    /// @notice The sums over a run of big-endian FP32 numbers in calldata.
    /// @param run Calldata position of the first number.
    /// @param lanes Length of the run in numbers.
    /// @param window Window exponent W.
    function sums(uint256 run, uint256 lanes, uint256 window) internal pure returns (Sums memory result) {
        return enclose(partsOf(run, lanes, window), lanes, window);
    }

    /// @notice The sums of the counted numbers of a run, as in `sums`: those of adjacent runs add up.
    function partsOf(uint256 run, uint256 lanes, uint256 window) internal pure returns (Parts memory parts) {
        // INVARIANT: the two halves of the packed accumulator cannot run over.
        if (lanes > MAX_LANES) revert TooManyLanes(lanes, MAX_LANES);
        if (window < MIN_WINDOW || window > MAX_WINDOW) revert WindowOutOfRange(window);
        (uint256 both, uint256 squares, uint256 odd) = _add(run, lanes, window);
        // INVARIANT: infinite and NaN numbers refute nothing.
        if (odd & (ONES << 8) != 0) revert NonFiniteLane();
        // INVARIANT: the window covers the largest number, so the sums lack nothing but small ones.
        if (odd != 0) revert WindowTooLow(window);
        (parts.positive, parts.negative, parts.squares) = (uint128(both), both >> 128, squares);
    }

    /// @notice The sums over a row, from those of its counted numbers.
    /// @param lanes Length of the row in numbers.
    /// @param window Window exponent with which the numbers were counted.
    function enclose(Parts memory parts, uint256 lanes, uint256 window) internal pure returns (Sums memory result) {
        // INVARIANT: a lane is below 2^87 units, so the sums are below 2^108 and that of the squares below 2^195.
        if (lanes > MAX_ROW) revert TooManyLanes(lanes, MAX_ROW);
        unchecked {
            uint256 skipped = window == MIN_WINDOW ? 0 : lanes;
            int256 exponent = int256(window) - 150;
            result.sum = Ball(int256(parts.positive) - int256(parts.negative), skipped << 23, exponent);
            result.magnitude = Ball(int256(parts.positive + parts.negative), skipped << 23, exponent);
            result.squares = Ball(int256(parts.squares), skipped << 46, 2 * exponent);
        }
        Balls.round(result.squares);
    }

    /// @dev All lanes of a word at once as far as exponents and masks go.
    /// @return both Sum of the counted numbers above zero in the lower half, of the magnitudes of those below zero in
    /// the upper.
    /// @return squares Sum of the squares of the counted numbers.
    /// @return odd 0x100 in some lane where a number is infinite or NaN, less where one is above the window.
    function _add(uint256 run, uint256 lanes, uint256 window)
        private
        pure
        returns (uint256 both, uint256 squares, uint256 odd)
    {
        assembly ("memory-safe") {
            let anchor := mul(ONES, sub(257, window))
            let last := add(run, shl(2, lanes))
            for { } lt(run, last) { run := add(run, 32) } {
                let A := calldataload(run)
                // Behind the run are other numbers; zeros change no sum.
                if lt(sub(last, run), 32) { A := and(A, not(shr(shl(3, sub(last, run)), not(0)))) }
                let X := and(shr(16, A), mul(ONES, 0x8000)) // the sign as a shift by 128; behind it, the window's
                {
                    let E := and(shr(23, A), mul(ONES, 0xff))
                    let H := and(shr(8, add(E, mul(ONES, 0xff))), ONES) // 1 where the number is normal
                    let D := sub(add(E, anchor), H) // 256 + e - W, in [3, 510]
                    let G := and(shr(8, D), ONES) // 1 where the number counts: not below the window
                    odd := or(odd, and(add(E, ONES), mul(ONES, 0x100)))
                    odd := or(odd, and(D, mul(G, 0xc0)))
                    A := and(or(and(A, mul(ONES, 0x7fffff)), shl(23, H)), mul(G, 0xffffff))
                    X := or(X, and(D, mul(ONES, 0xff)))
                }
                // The four upper lanes, twice: for all eight at once the compiler runs out of stack, and then evaluates
                // X anew wherever it is used.
                for { let half := 0 } lt(half, 2) { half := add(half, 1) } {
                    let v := shl(byte(3, X), shr(224, A))
                    squares := add(squares, mul(v, v))
                    both := add(both, shl(byte(2, X), v))
                    v := shl(byte(7, X), and(shr(192, A), 0xffffff))
                    squares := add(squares, mul(v, v))
                    both := add(both, shl(byte(6, X), v))
                    v := shl(byte(11, X), and(shr(160, A), 0xffffff))
                    squares := add(squares, mul(v, v))
                    both := add(both, shl(byte(10, X), v))
                    v := shl(byte(15, X), and(shr(128, A), 0xffffff))
                    squares := add(squares, mul(v, v))
                    both := add(both, shl(byte(14, X), v))
                    A := shl(128, A)
                    X := shl(128, X)
                }
            }
        }
    }
}
