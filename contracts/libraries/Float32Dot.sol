// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { Limits } from "./Limits.sol";

/// @title Exact windowed sums of products of FP32 numbers, and the proof that a claimed sum is out of tolerance.
/// @notice A finite number is (-1)^s * m * 2^(e - 150) with m < 2^24 and 1 <= e <= 254 (subnormals and zero have
/// e = 1), so a product is (ma * mb) * 2^(E - 300) with E = ea + eb in [2, 508]. Sums are integers in units of
/// 2^(W - 300), where W is the window exponent: a product counts exactly where W <= E <= W + 63. Below the window
/// a product is less than 2^48 * 2^(E - 300) <= 2^47 units and is skipped; above it the sum reverts. So each counted
/// product is below 2^111 units and 2^17 of them stay below 2^128.
/// @dev W is a hint of the challenger. A window too low reverts, and one too high skips terms in the claimant's
/// favour, so that a bad hint can only make a proof fail.
library Float32Dot {
    /// @param positive Sum of the counted products above zero.
    /// @param negative Sum of the magnitudes of those below zero.
    /// @param subnormal Sum of the magnitudes of those with a subnormal factor, which kernels may take for zero.
    /// @param squared Whether `squares` is wanted, to be set before anything is added.
    /// @param squares Sum of the squares of the counted products, below 2^240, if it is wanted.
    struct Sum {
        uint256 positive;
        uint256 negative;
        uint256 subnormal;
        bool squared;
        uint256 squares;
    }

    uint256 internal constant MAX_TERMS = 1 << 17;
    uint256 internal constant MIN_WINDOW = 2;
    uint256 internal constant MAX_WINDOW = 508;

    uint32 private constant ONE = 0x3f800000; // 1.0

    /// @dev 1 in each of the eight 32-bit lanes of a word.
    uint256 private constant ONES = 0x0000000100000001000000010000000100000001000000010000000100000001;

    error TooManyTerms(uint256 terms, uint256 maximum);
    error WindowOutOfRange(uint256 window);
    error WindowTooLow(uint256 window);
    error NonFiniteOperand();

    /// @notice Exact sum of the products of two runs of big-endian FP32 numbers in calldata.
    /// @param a Calldata position of the first run.
    /// @param b Calldata position of the second run.
    /// @param lanes Length of the runs in numbers.
    /// @param window Window exponent W.
    function dot(uint256 a, uint256 b, uint256 lanes, uint256 window) internal pure returns (Sum memory sum) {
        addRun(sum, a, b, lanes, window);
    }

    /// @notice Adds the products of two runs, as in `dot`, to a sum made with the same window.
    function addRun(Sum memory sum, uint256 a, uint256 b, uint256 lanes, uint256 window) internal pure {
        // INVARIANT: the two halves of the packed accumulator cannot run over.
        if (lanes > MAX_TERMS) revert TooManyTerms(lanes, MAX_TERMS);
        if (window < MIN_WINDOW || window > MAX_WINDOW) revert WindowOutOfRange(window);
        unchecked {
            while (lanes != 0) {
                // Literals, so that each gets a loop of its own.
                uint256 words = sum.squared
                    ? _addWords(sum, a, b, lanes / 8, window, true)
                    : _addWords(sum, a, b, lanes / 8, window, false);
                a += 32 * words;
                b += 32 * words;
                lanes -= 8 * words;
                // The word that stopped the above, or the rest of the run.
                for (uint256 rest = lanes < 8 ? lanes : 8; rest != 0; --rest) {
                    _add(sum, _load(a), _load(b), window);
                    a += 4;
                    b += 4;
                    --lanes;
                }
            }
        }
    }

    /// @notice Adds `bits` * 1.0 to a sum made with the same window.
    function add(Sum memory sum, uint32 bits, uint256 window) internal pure {
        _add(sum, bits, ONE, window);
    }

    /// @notice Whether `y` is proven to differ from the exact sum S by more than
    /// gamma_n T + 2 D + (2 n + 1) 2^-126, with T the sum of magnitudes, D that of products with a subnormal factor,
    /// and gamma_n = n u / (1 - n u), u = 2^-24; or to be infinite or NaN where no order of summation overflows.
    /// @param terms n: no less than the number of products that the sum was made of, the added ones included.
    function refutes(Sum memory sum, uint256 terms, uint256 window, uint32 y) internal pure returns (bool) {
        // INVARIANT: a sum is of as many products as a run holds and at most one more, so nothing below can run over.
        if (terms > MAX_TERMS + 1) revert TooManyTerms(terms, MAX_TERMS + 1);
        unchecked {
            uint256 skipped = terms << 47; // all products below the window are below this together
            uint256 magnitude = sum.positive + sum.negative + skipped;
            uint256 tolerance = magnitude * terms / ((1 << 24) - terms) + 1 + _slack(sum, terms, window);
            if (!Limits.isFinite(y)) return magnitude + tolerance < _overflowLimit(window);
            return _distance(sum, window, y) > tolerance;
        }
    }

    /// @notice Whether finite `y` is proven to differ from the exact sum S by more than
    /// theta u sqrt(n) R + 2 D + (2 n + 1) 2^-126, with R the root of the sum of squared products, n, D and u as above.
    /// @dev The sum must have been made with its squares.
    /// @param theta In units of 2^-16; nothing exceeds 0.
    function exceeds(Sum memory sum, uint256 terms, uint256 window, uint32 y, uint32 theta)
        internal
        pure
        returns (bool)
    {
        // INVARIANT: as for `refutes`.
        if (terms > MAX_TERMS + 1) revert TooManyTerms(terms, MAX_TERMS + 1);
        // INVARIANT: no constant, no accusation; and a claim that is not finite has no distance from the sum.
        if (theta == 0 || !Limits.isFinite(y)) return false;
        unchecked {
            // Each skipped product's square is below 2^94. sqrt(n R^2) is below 2^129, rounded up from 2^-8 of n R^2.
            uint256 squares = sum.squares + (terms << 94);
            uint256 root = (Math.sqrt(terms * ((squares >> 8) + 1)) + 1) << 4;
            return _distance(sum, window, y) > (theta * root >> 40) + 1 + _slack(sum, terms, window);
        }
    }

    /// @dev What subnormals that count as zero and the truncations of `_distance` and of `Sum` may cost, rounded up.
    function _slack(Sum memory sum, uint256 terms, uint256 window) private pure returns (uint256 slack) {
        unchecked {
            slack = 2 * sum.subnormal;
            // Flush to zero: 2^-126 is 2^(174 - W) units, at most one of them where W > 174.
            slack += window > 174 ? 2 * terms + 1 : (2 * terms + 1) << (174 - window);
            // Skipped products shift S once and count twice in D; one more unit is for the truncation of y.
            slack += 3 * (terms << 47) + 1;
        }
    }

    /// @dev |y - S| of a finite y, off by less than a unit for the truncation of y. A magnitude of 2^201 units or more is
    /// beyond every sum and tolerance, which are below 2^192, and counts as the largest there is.
    function _distance(Sum memory sum, uint256 window, uint32 y) private pure returns (uint256) {
        unchecked {
            (uint256 mantissa, uint256 exponent,) = _decode(y);
            uint256 claimed;
            if (exponent + 150 < window) {
                claimed = mantissa >> (window - exponent - 150);
            } else {
                if (exponent + 150 - window > 200 && mantissa != 0) return type(uint256).max;
                claimed = mantissa << (exponent + 150 - window);
            }
            int256 difference = int256(sum.positive) - int256(sum.negative);
            difference = y >> 31 == 0 ? int256(claimed) - difference : int256(claimed) + difference;
            return uint256(difference < 0 ? -difference : difference);
        }
    }

    /// @dev Adds the products of whole words of eight lanes, all lanes of a word at once as far as exponents and
    /// masks go. Stops before a word with an infinite or NaN factor, a product above the window, or one in it with a
    /// subnormal or zero factor: ordinary windows begin far above the products of those.
    /// @return done Number of words added.
    function _addWords(Sum memory sum, uint256 a, uint256 b, uint256 words, uint256 window, bool squared)
        private
        pure
        returns (uint256 done)
    {
        uint256 both; // positive products in the lower half, negative ones in the upper
        uint256 squares;
        assembly ("memory-safe") {
            // The sum and that of the squares are kept in scratch memory, as the stack is full. A term may be in either
            // half of the word: modulo 2^256 - 1 its square is the same.
            function addWithSquare(term) {
                mstore(0, add(mload(0), term))
                mstore(32, add(mload(32), mulmod(term, term, not(0))))
            }
            if squared {
                mstore(0, 0)
                mstore(32, 0)
            }
            // A normal factor's stored exponent is its e, a subnormal one's is e - 1 = 0.
            let anchor := mul(ONES, sub(514, window))
            let start := a
            b := sub(b, a)
            for { let end := add(a, shl(5, words)) } lt(a, end) { a := add(a, 32) } {
                let A := calldataload(a)
                let B := calldataload(add(a, b))
                let X := and(shr(24, xor(A, B)), mul(ONES, 0x80)) // the product's sign, as a shift by 128
                let HA // bit 9 in the lanes where the factor is normal
                let HB
                let G // bit 9 where the product counts: not below the window
                {
                    let EA := and(shr(23, A), mul(ONES, 0xff))
                    let EB := and(shr(23, B), mul(ONES, 0xff))
                    HA := and(add(EA, mul(ONES, 0x1ff)), mul(ONES, 0x200))
                    HB := and(add(EB, mul(ONES, 0x1ff)), mul(ONES, 0x200))
                    let D := sub(add(add(EA, EB), anchor), shr(9, add(HA, HB))) // 512 + E - W, in [6, 1020]
                    G := and(D, mul(ONES, 0x200))
                    let odd := and(or(add(EA, ONES), add(EB, ONES)), mul(ONES, 0x100)) // infinite or NaN
                    odd := or(odd, and(G, not(and(HA, HB)))) // subnormal or zero, and not below the window
                    if or(odd, and(D, sub(G, shr(3, G)))) { break } // or above the window
                    X := or(X, and(D, mul(ONES, 0x3f)))
                }
                A := and(or(and(A, mul(ONES, 0x7fffff)), shl(14, HA)), sub(shl(15, G), shr(9, G)))
                B := or(and(B, mul(ONES, 0x7fffff)), shl(14, HB))
                switch squared
                case 0 {
                    both := add(both, shl(byte(3, X), mul(shr(224, A), shr(224, B))))
                    both := add(both, shl(byte(7, X), mul(and(shr(192, A), 0xffffff), and(shr(192, B), 0xffffff))))
                    both := add(both, shl(byte(11, X), mul(and(shr(160, A), 0xffffff), and(shr(160, B), 0xffffff))))
                    both := add(both, shl(byte(15, X), mul(and(shr(128, A), 0xffffff), and(shr(128, B), 0xffffff))))
                    both := add(both, shl(byte(19, X), mul(and(shr(96, A), 0xffffff), and(shr(96, B), 0xffffff))))
                    both := add(both, shl(byte(23, X), mul(and(shr(64, A), 0xffffff), and(shr(64, B), 0xffffff))))
                    both := add(both, shl(byte(27, X), mul(and(shr(32, A), 0xffffff), and(shr(32, B), 0xffffff))))
                    both := add(both, shl(byte(31, X), mul(and(A, 0xffffff), and(B, 0xffffff))))
                }
                default {
                    addWithSquare(shl(byte(3, X), mul(shr(224, A), shr(224, B))))
                    addWithSquare(shl(byte(7, X), mul(and(shr(192, A), 0xffffff), and(shr(192, B), 0xffffff))))
                    addWithSquare(shl(byte(11, X), mul(and(shr(160, A), 0xffffff), and(shr(160, B), 0xffffff))))
                    addWithSquare(shl(byte(15, X), mul(and(shr(128, A), 0xffffff), and(shr(128, B), 0xffffff))))
                    addWithSquare(shl(byte(19, X), mul(and(shr(96, A), 0xffffff), and(shr(96, B), 0xffffff))))
                    addWithSquare(shl(byte(23, X), mul(and(shr(64, A), 0xffffff), and(shr(64, B), 0xffffff))))
                    addWithSquare(shl(byte(27, X), mul(and(shr(32, A), 0xffffff), and(shr(32, B), 0xffffff))))
                    addWithSquare(shl(byte(31, X), mul(and(A, 0xffffff), and(B, 0xffffff))))
                }
            }
            done := shr(5, sub(a, start))
            if squared {
                both := mload(0)
                squares := mload(32)
            }
        }
        unchecked {
            sum.positive += uint128(both);
            sum.negative += both >> 128;
            if (squared) sum.squares += squares;
        }
    }

    /// @dev Adds the product of two numbers.
    function _add(Sum memory sum, uint32 x, uint32 y, uint256 window) private pure {
        (uint256 product, uint256 exponent, bool normal) = _decode(x);
        (uint256 mantissa, uint256 other, bool otherNormal) = _decode(y);
        // INVARIANT: infinite and NaN operands refute nothing.
        if (exponent == 255 || other == 255) revert NonFiniteOperand();
        unchecked {
            product *= mantissa;
            exponent += other;
            if (product == 0 || exponent < window) return;
            // INVARIANT: the window covers the largest product, so the sum is exact but for skipped small ones.
            if (exponent - window > 63) revert WindowTooLow(window);
            product <<= exponent - window;
            if ((x ^ y) >> 31 == 0) sum.positive += product;
            else sum.negative += product;
            if (!normal || !otherNormal) sum.subnormal += product;
            if (sum.squared) sum.squares += product * product;
        }
    }

    function _load(uint256 at) private pure returns (uint32 bits) {
        assembly ("memory-safe") {
            bits := shr(224, calldataload(at))
        }
    }

    /// @dev 2^127 in units, rounded down; saturates where that exceeds a word.
    function _overflowLimit(uint256 window) private pure returns (uint256) {
        if (window > 427) return 0;
        return window < 172 ? type(uint256).max : 1 << (427 - window);
    }

    /// @return mantissa Significand as an integer.
    /// @return exponent Biased exponent, 1 for subnormals and zero, 255 for infinities and NaN.
    /// @return normal Whether the significand has its leading bit.
    function _decode(uint32 bits) private pure returns (uint256 mantissa, uint256 exponent, bool normal) {
        mantissa = bits & 0x7fffff;
        exponent = (bits >> 23) & 0xff;
        normal = exponent != 0;
        if (normal) mantissa |= 0x800000;
        else exponent = 1;
    }
}
