// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball } from "../../contracts/libraries/Ball.sol";
import { Float32Dot } from "../../contracts/libraries/Float32Dot.sol";
import { RowSums } from "../../contracts/libraries/RowSums.sol";
import { RowBatch } from "../support/solidity/RowBatch.sol";
import { Floats } from "./support/Floats.sol";
import { Random, vm } from "./support/Vm.sol";

/// forge-config: default.fuzz.runs = 64
/// forge-config: deep.fuzz.runs = 2000
contract ReductionTest {
    uint32 private constant ONE = 0x3f800000;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant NEGATIVE_INFINITY = 0xff800000;
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant LARGEST = 0x7f7fffff;
    uint32 private constant SIGN = 0x80000000;
    uint32 private constant SMALLEST_NORMAL = 0x00800000;

    RowBatch private rows = new RowBatch();

    // ---- the sums ----

    function testFuzz_sum_agreesWithTheDefinition(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 window = 1 + random.below(190) * random.below(2);
        uint256 lanes = random.below(40);
        bytes memory row;
        int256[3] memory expected; // S, T and D in units of 2^(window - 150)
        for (uint256 i; i < lanes; ++i) {
            // Numbers from below the window to its last exponent, and zeros and subnormals
            uint256 exponent = window + random.below(64);
            if (random.below(3) == 0) exponent = random.below(window);
            uint256 bits = (random.below(2) << 31) | (exponent << 23) | random.below(1 << 23);
            row = abi.encodePacked(row, uint32(bits));
            uint256 term = exponent == 0 ? bits & 0x7fffff : (bits & 0x7fffff) | 0x800000;
            uint256 scale = exponent == 0 ? 1 : exponent;
            if (scale < window) continue;
            term <<= scale - window;
            expected[0] += bits >> 31 == 0 ? int256(term) : -int256(term);
            expected[1] += int256(term);
            if (exponent == 0) expected[2] += int256(term);
        }
        (Ball memory value, Ball memory magnitude, Ball memory subnormal) = rows.plainSums(row, window);
        _requireBall(value, expected[0], window, lanes);
        _requireBall(magnitude, expected[1], window, lanes);
        _requireBall(subnormal, expected[2], window, lanes);
    }

    function test_sum_windowsOutsideTheExponentsRevert() external {
        uint256[3] memory windows = [uint256(0), 255, type(uint256).max];
        for (uint256 i; i < windows.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(RowSums.WindowOutOfRange.selector, windows[i]));
            rows.plainSums("", windows[i]);
        }
    }

    function test_sum_aLaneAboveTheWindowReverts() external {
        bytes memory row = _filled(20, ONE);
        rows.plainSums(row, 127 - 63);
        for (uint256 lane; lane < 20; ++lane) {
            vm.expectRevert(abi.encodeWithSelector(RowSums.WindowTooLow.selector, 64));
            rows.plainSums(_with(row, lane, ONE + 0x800000), 64);
            vm.expectRevert(abi.encodeWithSelector(RowSums.WindowTooLow.selector, 64));
            rows.plainSums(_with(row, lane, LARGEST | SIGN), 64);
        }
    }

    function test_sum_lanesThatAreNotFiniteRevert() external {
        uint32[4] memory lanes = [INFINITY, NEGATIVE_INFINITY, NAN, NEGATIVE_INFINITY + 1];
        for (uint256 i; i < lanes.length; ++i) {
            for (uint256 lane; lane < 20; ++lane) {
                bytes memory row = _with(_filled(20, ONE), lane, lanes[i]);
                vm.expectRevert(abi.encodeWithSelector(RowSums.NonFiniteLane.selector));
                rows.plainSums(row, 64 + i);
            }
        }
    }

    function test_sum_moreLanesThanTheAccumulatorsHoldRevert() external {
        vm.expectRevert(abi.encodeWithSelector(RowSums.TooManyLanes.selector, 131_073, 131_072));
        rows.plainSums(new bytes(4 * 131_073), 1);
    }

    function test_sum_theAccumulatorsHoldTheMostAndLargestLanes() external view {
        (Ball memory value,,) = rows.plainSums(_filled(131_072, LARGEST | SIGN), 254 - 63);
        require(value.mid == -int256(uint256(0xffffff) << (63 + 17)), "the sum ran over");
    }

    // ---- sum and mean ----

    function test_refutesSum_countsEveryRoundoffOfTheRule() external view {
        // gamma_7 * 8 = 56 u and a bit: a step of 8 + 28 y is 16 u above 8
        bytes memory row = _filled(8, ONE);
        uint32 eight = 0x41000000;
        require(!_refutes("sum", row, 64, eight + 3) && _refutes("sum", row, 64, eight + 4), "above");
        require(!_refutes("sum", row, 64, eight - 7) && _refutes("sum", row, 64, eight - 8), "below");
    }

    function test_refutesMean_countsEveryRoundoffOfTheRule() external view {
        // gamma_10 = 10 u and a bit; a step of y is 2 u above 1 and u below
        bytes memory row = _filled(8, ONE);
        require(!_refutes("mean", row, 64, ONE + 5) && _refutes("mean", row, 64, ONE + 6), "above");
        require(!_refutes("mean", row, 64, ONE - 10) && _refutes("mean", row, 64, ONE - 11), "below");
    }

    function test_refutesSum_subnormalsMayCountAsZeroAndSumsBeFlushed() external view {
        bytes memory row = abi.encodePacked(uint32(0x00700000), uint32(0x00700000)); // 7/8 MIN each
        require(!_refutes("sum", row, 1, 0), "flushed");
        // 2 * 7/8 MIN + 2 MIN + 2 * 7/8 MIN = 5.5 MIN, and gamma
        require(!_refutes("sum", row, 1, 0x01b00000) && _refutes("sum", row, 1, 0x01b00008), "above");
    }

    function test_refutesSum_mayOverflowOnlyWhereSomeOrderDoes() external view {
        bytes memory row = abi.encodePacked(uint32(0x7e800000), uint32(0xfe800000)); // 2^126 - 2^126
        require(!_refutes("sum", row, 190, INFINITY) && !_refutes("sum", row, 190, NAN), "T = 2^127");
        row = abi.encodePacked(uint32(0x7e7fff00), uint32(0xfe800000));
        require(_refutes("sum", row, 190, INFINITY) && _refutes("mean", row, 190, NAN), "less");
    }

    function testFuzz_refutesSum_noWindowRefutesTheExactSum(uint256 seed) external view {
        Random memory random = Random(seed);
        bytes memory row;
        int256 sum;
        for (uint256 i = 1 + random.below(40); i > 0; --i) {
            int256 x = int256(random.below(1 << 18)) - (1 << 17);
            sum += x;
            row = abi.encodePacked(row, Floats.ofInteger(x));
        }
        for (uint256 window; window < 256; ++window) {
            bytes memory input = abi.encodeCall(rows.refutesOne, ("sum", row, 0, window, Floats.ofInteger(sum)));
            (bool done, bytes memory output) = address(rows).staticcall(input);
            require(!done || !abi.decode(output, (bool)), "refuted");
        }
    }

    // ---- norm ----

    function test_refutesNorm_threeFourFive() external view {
        bytes memory row = abi.encodePacked(Floats.ofInteger(3), uint32(0), Floats.ofInteger(-4));
        uint32 five = Floats.ofInteger(5);
        // gamma_3 / 2 + 4 u = 5.5 u of 5 and inflated, 27.8 u; a step of y is 8 u
        require(!_refutes("norm", row, 200, five + 3) && _refutes("norm", row, 200, five + 4), "above");
        require(!_refutes("norm", row, 200, five - 3) && _refutes("norm", row, 200, five - 4), "below");
    }

    function test_refutesNorm_ofZerosIsZero() external view {
        bytes memory row = _filled(9, SIGN);
        // sqrt F = sqrt(36 MIN) = 6 2^-63, and 2 MIN
        require(!_refutes("norm", row, 2, 0) && !_refutes("norm", row, 2, 0x21400000), "inside");
        require(_refutes("norm", row, 2, 0x21400001), "outside");
    }

    function test_refutesNorm_mayOverflowOnlyWhereTheSquaresDo() external view {
        require(!_refutes("norm", _filled(2, 0x5f000000), 320, INFINITY), "2^127");
        require(_refutes("norm", _filled(2, 0x5e800000), 320, INFINITY), "2^125");
    }

    function test_refutesNorm_badWindowsRevert() external {
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowTooLow.selector, 190));
        _refutes("norm", _filled(8, ONE), 190, ONE);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        _refutes("norm", _filled(8, NAN), 200, ONE);
    }

    // ---- amax ----

    function testFuzz_refutesMaximum_onlyTheLargestLaneStands(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 lanes = 1 + random.below(30);
        int256 largest = type(int256).min;
        int256[] memory values = new int256[](lanes);
        bytes memory row;
        for (uint256 i; i < lanes; ++i) {
            values[i] = int256(random.below(2000)) - int256(500 * random.below(5));
            if (values[i] > largest) largest = values[i];
            row = abi.encodePacked(row, Floats.ofInteger(values[i]));
        }
        for (uint256 i; i < lanes; ++i) {
            bool refuted = _refutes("amax", row, 0, Floats.ofInteger(values[i]));
            require(refuted == (values[i] != largest), "not the largest lane stands, or another");
        }
        require(_refutes("amax", row, 0, Floats.ofInteger(largest + 1)), "larger than all");
    }

    function test_refutesMaximum_infinitiesAreNumbersAndNaNRefutesNothing() external view {
        bytes memory row = abi.encodePacked(NEGATIVE_INFINITY, ONE);
        require(!_refutes("amax", row, 0, ONE) && _refutes("amax", row, 0, NEGATIVE_INFINITY), "-inf");
        row = abi.encodePacked(INFINITY, ONE);
        require(!_refutes("amax", row, 0, INFINITY) && _refutes("amax", row, 0, ONE), "inf");
        require(_refutes("amax", row, 0, NAN), "a NaN of numbers");
        require(!_refutes("amax", abi.encodePacked(NAN, ONE), 0, 0), "NaN");
        require(!_refutes("amax", abi.encodePacked(ONE, NEGATIVE_INFINITY + 1), 0, 0), "NaN with the sign bit");
    }

    function test_refutesMaximum_numbersBelowTheSmallestNormalAreEqual() external view {
        bytes memory row = abi.encodePacked(uint32(0x00400000), SIGN, ONE | SIGN);
        uint32[4] memory equal = [uint32(0), SIGN, 0x007fffff, 0x807fffff];
        for (uint256 i; i < equal.length; ++i) {
            require(!_refutes("amax", row, 0, equal[i]), "below");
        }
        require(_refutes("amax", row, 0, SMALLEST_NORMAL) && _refutes("amax", row, 0, SMALLEST_NORMAL | SIGN), "MIN");
        require(_refutes("amax", _filled(3, SMALLEST_NORMAL), 0, 0x007fffff), "less than MIN");
        require(_refutes("amax", _filled(3, SMALLEST_NORMAL | SIGN), 0, 0x807fffff), "more than -MIN");
    }

    function _requireBall(Ball memory ball, int256 mid, uint256 window, uint256 lanes) private pure {
        uint256 skipped = window == 1 ? 0 : lanes << 23;
        require(ball.mid == mid && ball.rad == skipped && ball.exp == int256(window) - 150, "another sum");
    }

    function _refutes(string memory name, bytes memory row, uint256 hint, uint32 y) private view returns (bool) {
        return rows.refutesOne(name, row, 0, hint, y);
    }

    function _filled(uint256 lanes, uint32 bits) private pure returns (bytes memory row) {
        row = new bytes(4 * lanes);
        assembly ("memory-safe") {
            let at := add(row, 32)
            for { let end := add(at, mload(row)) } lt(at, end) { at := add(at, 4) } {
                // Keeps the 28 bytes behind the lane, so that the last store changes nothing past the end.
                mstore(at, or(shl(224, bits), and(mload(at), shr(32, not(0)))))
            }
        }
    }

    function _with(bytes memory row, uint256 lane, uint32 bits) private pure returns (bytes memory changed) {
        changed = bytes.concat(row);
        for (uint256 i; i < 4; ++i) {
            changed[4 * lane + i] = bytes1(uint8(bits >> (24 - 8 * i)));
        }
    }
}
