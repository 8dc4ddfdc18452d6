// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball } from "./Ball.sol";

/// @title Enclosures of the sums that a softmax is made of.
/// @notice For a row x_j with maximum M and d_j = M - x_j: S = sum e^-d_j and W = sum e^-d_j d_j. A lane of -inf adds
/// nothing to either. S is enclosed to 2^-43 and W to 2^-43 of itself and n 2^-72.
/// @dev Fixed-point numbers: d in units of 2^-103, so that every FP32 number fits a word and all bits above 2^-103 count;
/// exponentials in units of 2^-80.
library ExponentialSums {
    /// @param total S, at least 1.
    /// @param weighted W.
    /// @param maximum M as an FP32 encoding.
    struct Sums {
        Ball total;
        Ball weighted;
        uint32 maximum;
    }

    /// @dev S in units of 2^-80 and W in units of 2^-183, truncated.
    struct Parts {
        uint256 total;
        uint256 weighted;
    }

    /// @dev Lanes of a run, and of a row, which may be made of several.
    uint256 internal constant MAX_LANES = 1 << 17;
    uint256 internal constant MAX_ROW = 1 << 18;

    // A mantissa's place in a word, and its leading bit's
    uint256 private constant FRACTION = 0x7fffff << 208;
    uint256 private constant LEADING = 1 << 231;

    // Constants rounded down, the suffix is the number of fraction bits.
    uint256 private constant LOG2_E_63 = 0xb8aa3b295c17f0bb;
    uint256 private constant LN_2_103 = 0x58b90bfbe8e7bcd5e4f1d9cc01;

    uint256 private constant FIFTEEN = 15 << 80;

    error TooManyLanes(uint256 lanes, uint256 maximum);
    error LaneOutOfRange(uint256 lane, uint256 lanes);
    error NotTheMaximum(uint256 lane);
    error AboveTheMaximum(uint256 lane);
    error NonFiniteLane();

    /// @notice S and W of a run of big-endian FP32 numbers in calldata. Reverts where a lane is NaN or +inf, or all are
    /// -inf.
    /// @param run Calldata position of the run.
    /// @param lanes Length of the run in numbers.
    /// @param largest The lane that holds M. A hint: a lane that exceeds it by 2^-102 or more reverts; less moves the
    /// d_j by no more than their own truncation does.
    function sum(uint256 run, uint256 lanes, uint256 largest) internal pure returns (Sums memory sums) {
        // INVARIANT: the sums cannot run over.
        if (lanes > MAX_LANES) revert TooManyLanes(lanes, MAX_LANES);
        if (largest >= lanes) revert LaneOutOfRange(largest, lanes);
        sums.maximum = load(run, largest);
        // INVARIANT: NaN and +inf refute nothing, nor does a row without a finite lane.
        if (sums.maximum & 0x7f800000 == 0x7f800000) revert NonFiniteLane();
        Parts memory parts;
        uint256 done;
        (parts.total, parts.weighted, done) = _accumulate(run, lanes, _fixed(sums.maximum));
        if (done != lanes) {
            // INVARIANT: no lane is NaN, and none larger than the maximum.
            if (load(run, done) & 0x7fffffff >= 0x7f800000) revert NonFiniteLane();
            revert NotTheMaximum(largest);
        }
        return enclose(parts, lanes, sums.maximum);
    }

    /// @notice The sums of a run, as in `sum`, for a maximum that may lie in another run: those of adjacent runs add up.
    /// Reverts where a lane is NaN or exceeds the maximum by 2^-102 or more.
    /// @param maximum M as an FP32 encoding.
    function partsOf(uint256 run, uint256 lanes, uint32 maximum) internal pure returns (Parts memory parts) {
        if (lanes > MAX_LANES) revert TooManyLanes(lanes, MAX_LANES);
        if (maximum & 0x7f800000 == 0x7f800000) revert NonFiniteLane();
        uint256 done;
        (parts.total, parts.weighted, done) = _accumulate(run, lanes, _fixed(maximum));
        if (done != lanes) {
            if (load(run, done) & 0x7fffffff >= 0x7f800000) revert NonFiniteLane();
            revert AboveTheMaximum(done);
        }
    }

    /// @notice S and W of a row from the sums of its runs.
    /// @param maximum M, the largest lane of the row, as an FP32 encoding.
    function enclose(Parts memory parts, uint256 lanes, uint32 maximum) internal pure returns (Sums memory sums) {
        // INVARIANT: the sums are below 2^98 and 2^207 units.
        if (lanes > MAX_ROW) revert TooManyLanes(lanes, MAX_ROW);
        sums.maximum = maximum;
        unchecked {
            // Each exponential is off by less than 2^-44 of itself and one unit, also where it was left out.
            sums.total = Ball(int256(parts.total), (parts.total >> 43) + 2 * lanes, -80);
            // One unit of it counts d times, which is below 2^109; d is off by two units.
            sums.weighted = Ball(int256(parts.weighted), (parts.weighted >> 43) + (lanes << 110), -183);
        }
        sums.weighted.round();
    }

    /// @notice The FP32 bits of a lane of a run.
    function load(uint256 run, uint256 lane) internal pure returns (uint32 bits) {
        assembly ("memory-safe") {
            bits := shr(224, calldataload(add(run, shl(2, lane))))
        }
    }

    /// @dev A number in units of 2^-103, truncated towards zero. The exponent's place makes zero, subnormals and what
    /// else is below a unit become 0, and an infinity larger than every number.
    function _fixed(uint32 bits) private pure returns (int256 value) {
        unchecked {
            value = int256(((uint256(bits & 0x7fffff) | 0x800000) << 208) >> (255 - ((bits >> 23) & 0xff)));
            if (bits >> 31 != 0) value = -value;
        }
    }

    /// @return total S in units of 2^-80.
    /// @return weighted W in units of 2^-183.
    /// @return done Number of lanes before the first that is NaN or larger than the maximum.
    function _accumulate(uint256 run, uint256 lanes, int256 maximum)
        private
        pure
        returns (uint256 total, uint256 weighted, uint256 done)
    {
        assembly ("memory-safe") {
            let at := run
            for { let end := add(run, shl(2, lanes)) } lt(at, end) { at := add(at, 4) } {
                let word := calldataload(at)
                let sign := sar(255, word)
                let d := shr(sub(255, and(shr(247, word), 0xff)), or(and(shr(16, word), FRACTION), LEADING))
                d := add(sub(maximum, xor(d, sign)), sign)
                // From 64 on the exponential is below 2^-92 and left out.
                if shr(109, d) {
                    if or(slt(d, 0), gt(shr(225, shl(1, word)), 0x7f800000)) { break }
                    continue
                }
                // d = k ln 2 + 32 h with 0 <= h < 0.0217
                let k := shr(166, mul(d, LOG2_E_63))
                let h := shr(28, sub(d, mul(k, LN_2_103)))
                // e^-2h = (1 - t) / (1 + t) with t = tanh h = h / (1 + h^2 / (3 + h^2 / (5 + ...))), Lambert's continued
                // fraction. This convergent is h (15 + h^2) / (15 + 6 h^2); the next one lies on the other side of the
                // limit and differs by less than h^7 / 1575 < 2^-49, roundings are below 2^-77.
                let square := shr(80, mul(h, h))
                let even := add(FIFTEEN, mul(6, square))
                let odd := shr(80, mul(h, add(FIFTEEN, square)))
                let p := div(shl(80, sub(even, odd)), add(even, odd))
                // to the 16th power, which makes relative errors 16 fold
                p := shr(80, mul(p, p))
                p := shr(80, mul(p, p))
                p := shr(80, mul(p, p))
                p := shr(add(k, 80), mul(p, p))
                total := add(total, p)
                weighted := add(weighted, mul(p, d))
            }
            done := shr(2, sub(at, run))
        }
    }
}
