// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball } from "../../contracts/libraries/Ball.sol";
import { Moments } from "../../contracts/libraries/Moments.sol";
import { Random, vm } from "./support/Vm.sol";

contract MomentsHarness {
    /// @param skip Bytes of `data` in front of the run.
    function sums(bytes calldata data, uint256 skip, uint256 lanes, uint256 window)
        external
        view
        returns (Moments.Sums memory result, uint256 gas)
    {
        uint256 run;
        assembly ("memory-safe") {
            run := add(data.offset, skip)
        }
        gas = gasleft();
        result = Moments.sums(run, lanes, window);
        gas -= gasleft();
    }
}

contract MomentsTest {
    MomentsHarness private harness = new MomentsHarness();

    error TooMuchGas(uint256 used, uint256 limit);

    // ---- sums ----

    function testFuzz_sums_areExactWhereTheWindowHoldsAll(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 window = 1 + random.below(192); // up to e = 254
        uint256 lanes = random.below(40);
        (bytes memory data, uint256 skip, uint32[] memory numbers) = _row(random, lanes, window, 62);
        (Moments.Sums memory sums,) = harness.sums(data, skip, lanes, window);
        (int256 sum, uint256 magnitude, uint256 squares) = _exact(numbers, window);
        int256 exponent = int256(window) - 150;
        require(sums.sum.mid == sum && sums.sum.exp == exponent, "sum");
        require(sums.magnitude.mid == int256(magnitude) && sums.magnitude.exp == exponent, "magnitude");
        // Squares may be rounded to 120 bits.
        require(sums.squares.mid == int256(squares >> uint256(sums.squares.exp - 2 * exponent)), "squares");
        uint256 skipped = window == 1 ? 0 : lanes << 23;
        require(sums.sum.rad == skipped && sums.magnitude.rad == skipped, "radius");
    }

    function testFuzz_sums_containWhatIsBelowTheWindow(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 lowest = 1 + random.below(100);
        uint256 lanes = 1 + random.below(40);
        (bytes memory data, uint256 skip, uint32[] memory numbers) = _row(random, lanes, lowest, 30);
        uint256 window = lowest + random.below(40);
        (Moments.Sums memory sums,) = harness.sums(data, skip, lanes, window);
        (int256 sum, uint256 magnitude, uint256 squares) = _exact(numbers, lowest);
        uint256 up = window - lowest;
        require(_distance(sum, sums.sum.mid << up) <= sums.sum.rad << up, "sum");
        require(_distance(int256(magnitude), sums.magnitude.mid << up) <= sums.magnitude.rad << up, "magnitude");
        up = uint256(sums.squares.exp - 2 * (int256(lowest) - 150));
        require(_distance(int256(squares), sums.squares.mid << up) <= sums.squares.rad << up, "squares");
    }

    function test_sums_countTheEdgesOfTheWindow() external view {
        // e = 1 and 64 for W = 1: a subnormal, the smallest normal and the largest number in the window.
        bytes memory data = abi.encodePacked(uint32(1), uint32(0x80800000), uint32(0x207fffff));
        (Moments.Sums memory sums,) = harness.sums(data, 0, 3, 1);
        int256 largest = 0xffffff << 63;
        require(sums.sum.mid == 1 - 0x800000 + largest && sums.sum.rad == 0, "sum");
        require(sums.magnitude.mid == 1 + 0x800000 + largest && sums.magnitude.rad == 0, "magnitude");
    }

    function test_sums_ofMostLanesFit() external view {
        // Numbers of the largest magnitude in the window; behind the data, calldata is zero.
        bytes memory data = new bytes(4096);
        for (uint256 i; i < 4096; i += 4) {
            (data[i], data[i + 1], data[i + 2], data[i + 3]) = (0xff, 0x7f, 0xff, 0xff);
        }
        (Moments.Sums memory sums,) = harness.sums(data, 0, 1 << 20, 191);
        require(sums.sum.mid == -(0xffffff << 73), "sum");
        require(sums.magnitude.mid == 0xffffff << 73, "magnitude");
    }

    // ---- errors ----

    function test_sums_aNumberAboveTheWindowReverts() external {
        for (uint256 lane; lane < 10; ++lane) {
            bytes memory data = new bytes(40);
            (data[4 * lane], data[4 * lane + 1]) = (0x40, 0x80); // 4.0 has e = 129
            harness.sums(data, 0, 10, 66);
            vm.expectRevert(abi.encodeWithSelector(Moments.WindowTooLow.selector, 65));
            harness.sums(data, 0, 10, 65);
            vm.expectRevert(abi.encodeWithSelector(Moments.WindowTooLow.selector, 1));
            harness.sums(data, 0, 10, 1);
        }
    }

    function test_sums_infiniteOrNaNRevert() external {
        for (uint256 window = 1; window < 255; window += 23) {
            vm.expectRevert(abi.encodeWithSelector(Moments.NonFiniteLane.selector));
            harness.sums(hex"3f8000007f800000", 0, 2, window);
            vm.expectRevert(abi.encodeWithSelector(Moments.NonFiniteLane.selector));
            harness.sums(hex"ffffffff3f800000", 0, 2, window);
        }
    }

    function test_sums_windowsOutOfRangeRevert() external {
        vm.expectRevert(abi.encodeWithSelector(Moments.WindowOutOfRange.selector, 0));
        harness.sums(new bytes(4), 0, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(Moments.WindowOutOfRange.selector, 255));
        harness.sums(new bytes(4), 0, 1, 255);
        harness.sums(new bytes(4), 0, 1, 254);
    }

    function test_sums_tooManyLanesRevert() external {
        vm.expectRevert(abi.encodeWithSelector(Moments.TooManyLanes.selector, (1 << 20) + 1, 1 << 20));
        harness.sums(new bytes(4), 0, (1 << 20) + 1, 1);
    }

    // ---- gas ----

    function test_gas_atMost122PerLane() external view {
        (bytes memory data, uint256 skip,) = _row(Random(1), 768, 70, 60);
        (, uint256 gas) = harness.sums(data, skip, 768, 70);
        if (gas > 122 * 768) revert TooMuchGas(gas, 122 * 768);
    }

    // ---- rows ----

    /// @dev Numbers with e from `window` on to `span` more, among others in front and behind.
    function _row(Random memory random, uint256 lanes, uint256 window, uint256 span)
        private
        pure
        returns (bytes memory data, uint256 skip, uint32[] memory numbers)
    {
        skip = 4 * random.below(9);
        data = new bytes(skip);
        for (uint256 i; i < skip; ++i) {
            data[i] = 0xff;
        }
        numbers = new uint32[](lanes);
        for (uint256 i; i < lanes; ++i) {
            uint256 word = random.next();
            uint256 exponent = window + (word >> 32) % (span + 1);
            // With e = 1, half of the numbers are subnormal.
            if (exponent == 1 && word >> 128 & 1 == 0) exponent = 0;
            numbers[i] = uint32(((word & 1) << 31) | (exponent << 23) | ((word >> 8) & 0x7fffff));
        }
        data = bytes.concat(data, _packed(numbers), hex"ffffffffffffffffffffffff");
    }

    function _packed(uint32[] memory numbers) private pure returns (bytes memory data) {
        data = new bytes(4 * numbers.length);
        for (uint256 i; i < data.length; ++i) {
            data[i] = bytes1(uint8(numbers[i / 4] >> (8 * (3 - i % 4))));
        }
    }

    /// @dev In units of 2^(window - 150).
    function _exact(uint32[] memory numbers, uint256 window)
        private
        pure
        returns (int256 sum, uint256 magnitude, uint256 squares)
    {
        for (uint256 i; i < numbers.length; ++i) {
            uint256 exponent = (numbers[i] >> 23) & 0xff;
            uint256 size = numbers[i] & 0x7fffff;
            if (exponent == 0) exponent = 1;
            else size |= 0x800000;
            size <<= exponent - window;
            sum += numbers[i] >> 31 == 0 ? int256(size) : -int256(size);
            magnitude += size;
            squares += size * size;
        }
    }

    function _distance(int256 a, int256 b) private pure returns (uint256) {
        return uint256(a < b ? b - a : a - b);
    }
}
