// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Float32Dot } from "../../contracts/libraries/Float32Dot.sol";
import { Random, vm } from "./support/Vm.sol";

/// @dev The library over calldata, with the bytes before and behind each run under the test's control.
contract Dot {
    using Float32Dot for Float32Dot.Sum;

    function sum(bytes calldata a, bytes calldata b, uint256 skip, uint256 lanes, uint256 window)
        external
        pure
        returns (Float32Dot.Sum memory)
    {
        return Float32Dot.dot(_at(a) + skip, _at(b), lanes, window);
    }

    function sumSquared(bytes calldata a, bytes calldata b, uint256 skip, uint256 lanes, uint256 window)
        external
        pure
        returns (Float32Dot.Sum memory total)
    {
        total.squared = true;
        total.addRun(_at(a) + skip, _at(b), lanes, window);
    }

    function refutes(bytes calldata a, bytes calldata b, bool hasBias, uint32 bias, uint256 window, uint32 y)
        external
        pure
        returns (bool)
    {
        uint256 lanes = a.length / 4;
        Float32Dot.Sum memory total = Float32Dot.dot(_at(a), _at(b), lanes, window);
        if (hasBias) total.add(bias, window);
        return total.refutes(hasBias ? lanes + 1 : lanes, window, y);
    }

    function exceeds(
        bytes calldata a,
        bytes calldata b,
        bool hasBias,
        uint32 bias,
        uint256 window,
        uint32 y,
        uint32 theta
    ) external pure returns (bool) {
        uint256 lanes = a.length / 4;
        Float32Dot.Sum memory total;
        total.squared = true;
        total.addRun(_at(a), _at(b), lanes, window);
        if (hasBias) total.add(bias, window);
        return total.exceeds(hasBias ? lanes + 1 : lanes, window, y, theta);
    }

    function add(uint32 bits, uint256 window) external pure returns (Float32Dot.Sum memory total) {
        total.add(bits, window);
    }

    function _at(bytes calldata run) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := run.offset
        }
    }
}

contract Float32DotTest {
    uint32 private constant ONE = 0x3f800000;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant LARGEST = 0x7f7fffff;
    uint32 private constant TINIEST = 1;
    uint256 private constant BAD_WINDOW = type(uint256).max;

    Dot private dot = new Dot();

    // ---- against exact rationals (generate_vectors.py) ----

    function test_refutes_matchesExactRationals() external view {
        bytes memory cases = vm.readFileBinary("tests/forge/vectors/dot.bin");
        uint256[4] memory seen;
        uint256 at;
        while (at < cases.length) {
            uint256 window = _integer(cases, at, 2);
            uint256 lanes = _integer(cases, at + 2, 2);
            uint256 expected = _integer(cases, at + 5, 1);
            bytes memory input = abi.encodeCall(
                dot.refutes,
                (
                    _slice(cases, at + 14, 4 * lanes),
                    _slice(cases, at + 14 + 4 * lanes, 4 * lanes),
                    _integer(cases, at + 4, 1) == 1,
                    uint32(_integer(cases, at + 10, 4)),
                    window,
                    uint32(_integer(cases, at + 6, 4))
                )
            );
            (bool done, bytes memory output) = address(dot).staticcall(input);
            bool refuted = done && abi.decode(output, (bool));
            ++seen[expected];
            if (expected == 0) require(done && !refuted, "an element within tolerance is not accepted");
            else if (expected == 1) require(refuted, "an element out of tolerance is not refuted");
            else if (expected == 2) require(!refuted, "a hostile window refutes an element within tolerance");
            else require(!done, "a non-finite operand does not revert");
            at += 14 + 8 * lanes;
        }
        require(seen[0] > 700 && seen[1] > 700 && seen[2] > 200 && seen[3] > 20, "too few cases of a kind");
    }

    function test_exceeds_matchesExactRationals() external view {
        bytes memory cases = vm.readFileBinary("tests/forge/vectors/theta.bin");
        uint256[4] memory seen;
        uint256 at;
        while (at < cases.length) {
            uint256 lanes = _integer(cases, at + 2, 2);
            uint256 expected = _integer(cases, at + 5, 1);
            (bool done, bytes memory output) = address(dot).staticcall(_exceeds(cases, at, lanes));
            bool exceeded = done && abi.decode(output, (bool));
            ++seen[expected];
            if (expected == 0) require(done && !exceeded, "an element within theta exceeds it");
            else if (expected == 1) require(exceeded, "an element beyond theta does not exceed it");
            else if (expected == 2) require(!exceeded, "a hostile window takes an element beyond theta");
            else require(!done, "a non-finite operand does not revert");
            at += 18 + 8 * lanes;
        }
        require(seen[0] > 700 && seen[1] > 500 && seen[2] > 200 && seen[3] > 20, "too few cases of a kind");
    }

    function _exceeds(bytes memory cases, uint256 at, uint256 lanes) private view returns (bytes memory) {
        return abi.encodeCall(
            dot.exceeds,
            (
                _slice(cases, at + 18, 4 * lanes),
                _slice(cases, at + 18 + 4 * lanes, 4 * lanes),
                _integer(cases, at + 4, 1) == 1,
                uint32(_integer(cases, at + 10, 4)),
                _integer(cases, at, 2),
                uint32(_integer(cases, at + 6, 4)),
                uint32(_integer(cases, at + 14, 4))
            )
        );
    }

    // ---- against sums one lane at a time ----

    function testFuzz_dot_equalsScalarSum(uint256 seed, uint256 lanes, uint256 skip, uint256 window) external view {
        Random memory random = Random(seed);
        lanes = lanes % 70;
        skip = 4 * (skip % 9);
        window = 2 + window % 507;
        uint256 mode = random.below(4);
        bytes memory a = new bytes(skip + 4 * lanes + 32);
        bytes memory b = new bytes(4 * lanes + 32);
        // Whatever lies behind the runs must not count.
        for (uint256 i; i < a.length / 4; ++i) {
            _put(a, i, _number(random, mode, window));
        }
        for (uint256 i; i < b.length / 4; ++i) {
            _put(b, i, _number(random, mode, window));
        }
        Float32Dot.Sum memory expected;
        expected.squared = true;
        uint256 fault;
        for (uint256 i; i < lanes; ++i) {
            uint256 x = _integer(a, skip + 4 * i, 4);
            uint256 y = _integer(b, 4 * i, 4);
            fault = _addScalar(expected, x, y, window);
            if (fault != 0) break;
        }
        bytes memory input = abi.encodeCall(dot.sum, (a, b, skip, lanes, window));
        (bool done, bytes memory output) = address(dot).staticcall(input);
        require(done == (fault == 0), "a fault is seen by one sum only");
        if (!done) {
            bytes4 special = Float32Dot.NonFiniteOperand.selector;
            bytes4 above = Float32Dot.WindowTooLow.selector;
            require(bytes4(output) == (fault == 2 ? special : above), "wrong reason");
            return;
        }
        Float32Dot.Sum memory squared = dot.sumSquared(a, b, skip, lanes, window);
        require(keccak256(abi.encode(squared)) == keccak256(abi.encode(expected)), "sums with squares differ");
        (expected.squared, expected.squares) = (false, 0);
        require(keccak256(output) == keccak256(abi.encode(expected)), "sums differ");
    }

    function testFuzz_add_equalsProductWithOne(uint32 bits, uint256 window) external view {
        window = 2 + window % 507;
        Float32Dot.Sum memory expected;
        uint256 fault = _addScalar(expected, bits, ONE, window);
        (bool done, bytes memory output) = address(dot).staticcall(abi.encodeCall(dot.add, (bits, window)));
        require(done == (fault == 0), "a fault is seen by one sum only");
        require(!done || keccak256(output) == keccak256(abi.encode(expected)), "sums differ");
    }

    /// @dev fault: 1 for a product above the window, 2 for a factor that is not finite.
    function _addScalar(Float32Dot.Sum memory sum, uint256 x, uint256 y, uint256 window)
        private
        pure
        returns (uint256 fault)
    {
        uint256 ex = (x >> 23) & 0xff;
        uint256 ey = (y >> 23) & 0xff;
        if (ex == 255 || ey == 255) return 2;
        uint256 product = ((x & 0x7fffff) | (ex == 0 ? 0 : 0x800000)) * ((y & 0x7fffff) | (ey == 0 ? 0 : 0x800000));
        uint256 exponent = (ex == 0 ? 1 : ex) + (ey == 0 ? 1 : ey);
        if (product == 0 || exponent < window) return 0;
        if (exponent - window > 63) return 1;
        product <<= exponent - window;
        if ((x ^ y) >> 31 == 0) sum.positive += product;
        else sum.negative += product;
        if (ex == 0 || ey == 0) sum.subnormal += product;
        if (sum.squared) sum.squares += product * product;
    }

    /// @dev Mostly numbers whose products lie about the window; now and then a subnormal, a zero or an infinity.
    function _number(Random memory random, uint256 mode, uint256 window) private pure returns (uint32) {
        uint256 exponent = window / 2 + random.below(34);
        if (mode == 0) exponent = random.below(256);
        else if (mode == 1 && random.below(3) == 0) exponent = 0;
        else if (mode == 2 && random.below(200) == 0) exponent = 255;
        if (exponent > 255) exponent = 254;
        uint256 mantissa = random.below(8) == 0 ? 0 : random.below(1 << 23);
        return uint32((random.below(2) << 31) | (exponent << 23) | mantissa);
    }

    // ---- limits ----

    function test_dot_rejectsWindowsOutsideTheExponents() external {
        bytes memory run = _run(8, ONE);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowOutOfRange.selector, 1));
        dot.sum(run, run, 0, 8, 1);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowOutOfRange.selector, 509));
        dot.sum(run, run, 0, 8, 509);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowOutOfRange.selector, BAD_WINDOW));
        dot.sum(run, run, 0, 8, BAD_WINDOW);
    }

    function test_dot_rejectsMoreTermsThanTheAccumulatorHolds() external {
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.TooManyTerms.selector, (1 << 17) + 1, 1 << 17));
        dot.sum("", "", 0, (1 << 17) + 1, 200);
    }

    function test_dot_holdsTheMostAndLargestTerms() external view {
        // All products at the top of the window with full significands: (2^24 - 1)^2 * 2^63 each.
        bytes memory run = _run(1 << 17, LARGEST);
        Float32Dot.Sum memory sum = dot.sum(run, run, 0, 1 << 17, 508 - 63);
        require(sum.positive == uint256((1 << 24) - 1) ** 2 << (63 + 17), "positive");
        require(sum.negative == 0 && sum.subnormal == 0, "the halves have mixed");
        sum = dot.sumSquared(run, run, 0, 1 << 17, 508 - 63);
        require(sum.squares == uint256((1 << 24) - 1) ** 4 << (126 + 17), "squares");
    }

    function test_exceeds_fitsTheWordWithTheMostAndLargestTerms() external view {
        // Products of 2^128 and a bias of 2^127, both at the top of the window; all but the bias cancel.
        bytes memory b = _run(1 << 17, (190 << 23) | 0x7fffff);
        bytes memory a = bytes.concat(_run(1 << 16, (190 << 23) | 0x7fffff), _run(1 << 16, (446 << 23) | 0x7fffff));
        uint32 bias = (253 << 23) | 0x7fffff;
        // theta = 1 is a deviation of 2^121.
        require(!dot.exceeds(a, b, true, bias, 317, bias - (1 << 17), 1 << 16), "2^120");
        require(dot.exceeds(a, b, true, bias, 317, bias - (1 << 19), 1 << 16), "2^122");
        require(!dot.exceeds(a, b, true, bias, 317, bias - (1 << 19), 4 << 16), "theta = 4");
    }

    function test_exceeds_nothingWithoutThetaOrWithoutANumber() external view {
        bytes memory run = _run(8, ONE);
        require(dot.exceeds(run, run, false, 0, 191, 0, type(uint32).max), "8 = 0 exceeds the largest theta");
        require(!dot.exceeds(run, run, false, 0, 191, 0, 0), "no theta");
        require(!dot.exceeds(run, run, false, 0, 191, INFINITY, 1), "infinity");
        require(!dot.exceeds(run, run, false, 0, 191, 0x7fc00000, 1), "NaN");
    }

    function test_exceeds_skippedTermsNeverExceed() external view {
        bytes memory run = _run(16, ONE);
        require(dot.exceeds(run, run, false, 0, 191, 0, 1), "16 = 0 with a good window");
        require(!dot.exceeds(run, run, false, 0, 400, 0, 1), "all terms skipped");
        require(!dot.exceeds(run, run, false, 0, 508, 0x41800000, 1), "the honest sum");
    }

    function test_exceeds_moreTermsThanASumHoldsRevert() external {
        bytes memory run = _run((1 << 17) + 8, ONE);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.TooManyTerms.selector, (1 << 17) + 8, 1 << 17));
        dot.exceeds(run, run, false, 0, 191, 0, 1);
    }

    function test_dot_windowOneTooLowReverts() external {
        bytes memory run = _run(1, ONE); // E = 254
        require(dot.sum(run, run, 0, 1, 191).positive == 1 << (46 + 63), "at the top of the window");
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowTooLow.selector, 190));
        dot.sum(run, run, 0, 1, 190);
    }

    function test_dot_windowOneTooHighSkips() external view {
        bytes memory run = _run(1, ONE);
        require(dot.sum(run, run, 0, 1, 254).positive == 1 << 46, "at the bottom of the window");
        require(dot.sum(run, run, 0, 1, 255).positive == 0, "below the window");
    }

    function test_refutes_skippedTermsNeverRefute() external view {
        bytes memory run = _run(16, ONE);
        require(dot.refutes(run, run, false, 0, 191, 0), "16 = 0 is refuted with a good window");
        require(!dot.refutes(run, run, false, 0, 400, 0), "all terms skipped");
        require(!dot.refutes(run, run, false, 0, 508, 0), "all terms skipped, the highest window");
        require(!dot.refutes(run, run, false, 0, 508, 0x41800000), "the honest sum");
    }

    function test_refutes_overflowLimitBelowOneUnit() external view {
        // E - 63 = 431: 2^127 is less than a unit, and an honest sum may overflow.
        bytes memory run = _run(8, 247 << 23);
        require(!dot.refutes(run, run, false, 0, 431, INFINITY), "an overflow may be honest");
        require(!dot.refutes(run, run, false, 0, 431, 0x7fc00000), "so may its NaN");
        require(dot.refutes(run, run, false, 0, 431, 0), "but zero is not");
        require(dot.refutes(run, run, false, 0, 431, LARGEST), "nor any finite number");
    }

    function test_refutes_nonFiniteWithoutOverflow() external view {
        bytes memory run = _run(8, ONE);
        require(dot.refutes(run, run, false, 0, 191, INFINITY), "infinity");
        require(dot.refutes(run, run, false, 0, 191, INFINITY | 1 << 31), "minus infinity");
        require(dot.refutes(run, run, false, 0, 191, 0x7fc00000), "NaN");
    }

    function test_refutes_overflowOnBothSidesOfTheLimit() external view {
        // One product of 2^126 or 2^127.
        bytes memory one = _run(1, ONE);
        require(dot.refutes(_run(1, 253 << 23), one, false, 0, 317, INFINITY), "2^126 cannot overflow");
        require(!dot.refutes(_run(1, 254 << 23), one, false, 0, 318, INFINITY), "2^127 counts as if it could");
    }

    function test_refutes_flushToZeroTermFitsTheWordAtTheLowestWindow() external view {
        bytes memory run = _run(64, TINIEST);
        require(!dot.refutes(run, run, false, 0, 2, 0), "all products flushed");
        require(!dot.refutes(run, run, false, 0, 2, TINIEST), "a subnormal sum");
        require(!dot.refutes(run, run, false, 0, 2, 0x01000000), "2^-125, within 129 * 2^-126");
        require(dot.refutes(run, run, false, 0, 2, 0x04800000), "2^-118 is more than that");
    }

    function test_refutes_claimBeyondTheWord() external view {
        bytes memory run = _run(64, TINIEST);
        require(dot.refutes(run, run, false, 0, 2, LARGEST), "largest");
        require(dot.refutes(run, run, false, 0, 2, LARGEST | 1 << 31), "smallest");
        bytes memory zeros = _run(64, 0);
        require(!dot.refutes(zeros, zeros, false, 0, 2, 1 << 31), "minus zero");
        require(dot.refutes(zeros, zeros, false, 0, 2, ONE), "one");
    }

    function test_refutes_denormalsAreZeroIsHonest() external view {
        // 2^100 * 2^-130 in each of 8 lanes; a kernel may drop them all.
        bytes memory a = _run(8, 227 << 23);
        bytes memory b = _run(8, 1 << 19);
        require(!dot.refutes(a, b, false, 0, 165, 0), "dropped");
        require(!dot.refutes(a, b, false, 0, 165, (127 - 27) << 23), "kept");
        require(dot.refutes(a, b, false, 0, 165, (127 - 25) << 23), "four times too much");
    }

    function test_refutes_biasAboveTheWindowReverts() external {
        bytes memory run = _run(8, ONE);
        require(dot.refutes(run, run, true, ONE, 191, 0), "in the window");
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.WindowTooLow.selector, 191));
        dot.refutes(run, run, true, ONE + (1 << 23), 191, 0);
    }

    function test_refutes_nonFiniteBiasReverts() external {
        bytes memory run = _run(8, ONE);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        dot.refutes(run, run, true, INFINITY, 191, 0);
    }

    function test_dot_nonFiniteInTheLastLaneReverts() external {
        bytes memory a = _run(9, ONE);
        bytes memory b = _run(9, 0);
        _put(b, 8, 0x7fc00000);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        dot.sum(a, b, 0, 9, 191);
        require(dot.sum(a, b, 0, 8, 191).positive == 0, "it is not in the first eight");
    }

    function _run(uint256 lanes, uint32 bits) private pure returns (bytes memory run) {
        run = new bytes(4 * lanes);
        uint256 word = 0x0000000100000001000000010000000100000001000000010000000100000001 * uint256(bits);
        for (uint256 i; i + 32 <= run.length; i += 32) {
            assembly ("memory-safe") {
                mstore(add(add(run, 32), i), word)
            }
        }
        for (uint256 i = lanes & ~uint256(7); i < lanes; ++i) {
            _put(run, i, bits);
        }
    }

    function _put(bytes memory run, uint256 lane, uint32 bits) private pure {
        for (uint256 i; i < 4; ++i) {
            run[4 * lane + i] = bytes4(bits)[i];
        }
    }

    function _slice(bytes memory data, uint256 at, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; i += 32) {
            assembly ("memory-safe") {
                let word := mload(add(add(data, 32), add(at, i)))
                let rest := sub(length, i)
                if lt(rest, 32) { word := and(word, shl(sub(256, shl(3, rest)), not(0))) }
                mstore(add(add(part, 32), i), word)
            }
        }
    }

    function _integer(bytes memory data, uint256 at, uint256 size) private pure returns (uint256 value) {
        require(at + size <= data.length, "outside the data");
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), mload(add(add(data, 32), at)))
        }
    }
}
