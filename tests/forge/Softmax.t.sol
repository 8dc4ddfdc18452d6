// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ExponentialSums } from "../../contracts/libraries/ExponentialSums.sol";
import { Softmax } from "../../contracts/libraries/Softmax.sol";
import { RowBatch } from "../support/solidity/RowBatch.sol";
import { Random, vm } from "./support/Vm.sol";

/// forge-config: default.fuzz.runs = 64
/// forge-config: deep.fuzz.runs = 2000
contract SoftmaxTest {
    uint32 private constant ONE = 0x3f800000;
    uint32 private constant QUARTER = 0x3e800000;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant NEGATIVE_INFINITY = 0xff800000;
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant LOWEST = 0xff7fffff;
    uint32 private constant TWO_MINIMA = 0x01000000; // 2^-125
    uint32 private constant MINUS_LOG_4 = 0xbfb17218;

    RowBatch private rows = new RowBatch();

    // ---- bounds that can be told by hand ----

    function test_softmax_fourEqualLanesHaveThe22RoundoffsOfTheRule() external view {
        // r = 19 u + gamma_3, a step of y is 2 u
        for (uint256 lane; lane < 4; ++lane) {
            bytes memory row = abi.encodePacked(ONE, ONE, ONE, ONE);
            require(!_softmax(row, lane, 2, QUARTER), "the exact value");
            require(!_softmax(row, lane, 2, QUARTER + 11), "above, inside");
            require(_softmax(row, lane, 2, QUARTER + 12), "above, outside");
            require(!_softmax(row, lane, 2, QUARTER - 22), "below, inside");
            require(_softmax(row, lane, 2, QUARTER - 23), "below, outside");
        }
    }

    function test_logSoftmax_fourEqualLanesHaveThe16RoundoffsOfTheRule() external view {
        // 6 u + gamma_3 + 5 u log 4 = 15.9 u, inflated; a step of y is 2 u, and -log 4 is off by less than one
        bytes memory row = abi.encodePacked(ONE, ONE, ONE, ONE);
        require(!_log(row, 3, 0, MINUS_LOG_4), "the rounded value");
        require(!_log(row, 3, 0, MINUS_LOG_4 + 7) && !_log(row, 3, 0, MINUS_LOG_4 - 7), "inside");
        require(_log(row, 3, 0, MINUS_LOG_4 + 9) && _log(row, 3, 0, MINUS_LOG_4 - 9), "outside");
    }

    function test_softmax_oneLaneIsOne() external view {
        bytes memory row = abi.encodePacked(LOWEST);
        require(!_softmax(row, 0, 0, ONE) && _softmax(row, 0, 0, ONE + 20), "softmax");
        require(!_log(row, 0, 0, 0) && _log(row, 0, 0, ONE), "log_softmax");
    }

    function test_softmax_maskedLanesAreNothing() external view {
        uint32[4] memory masks = [NEGATIVE_INFINITY, LOWEST, 0xceee6b28, 0xc6000000]; // -2e9, -2^13
        for (uint256 i; i < masks.length; ++i) {
            bytes memory row = abi.encodePacked(masks[i], ONE, masks[i]);
            require(!_softmax(row, 1, 1, ONE) && _softmax(row, 1, 1, ONE - 60), "the other lane");
            require(!_softmax(row, 0, 1, 0) && !_softmax(row, 0, 1, TWO_MINIMA), "inside");
            require(_softmax(row, 0, 1, TWO_MINIMA + 1), "outside");
        }
    }

    function test_logSoftmax_ofNegativeInfinityIsNegativeInfinity() external view {
        bytes memory row = abi.encodePacked(ONE, NEGATIVE_INFINITY);
        require(!_log(row, 1, 0, NEGATIVE_INFINITY), "-inf");
        require(_log(row, 1, 0, LOWEST) && _log(row, 1, 0, NAN) && _log(row, 1, 0, INFINITY), "others");
        require(!_log(row, 0, 0, 0) && _log(row, 0, 0, QUARTER), "the other lane");
    }

    function test_logSoftmax_mayOverflowOnlyWhereTheShiftDoes() external view {
        require(!_log(abi.encodePacked(LOWEST, LOWEST ^ 0x80000000), 0, 1, NEGATIVE_INFINITY), "2^129");
        require(_log(abi.encodePacked(ONE, QUARTER), 0, 0, NEGATIVE_INFINITY), "an ordinary row");
    }

    function test_softmax_isNeverInfiniteNorNaN() external view {
        bytes memory row = abi.encodePacked(ONE, QUARTER);
        require(_softmax(row, 0, 0, INFINITY) && _softmax(row, 1, 0, NAN), "not refuted");
    }

    // ---- hints and lanes that refute nothing ----

    function test_sum_aLaneBelowTheMaximumIsNoHint() external {
        vm.expectRevert(abi.encodeWithSelector(ExponentialSums.NotTheMaximum.selector, 1));
        _softmax(abi.encodePacked(ONE, QUARTER, ONE), 0, 1, 0);
    }

    function test_sum_aHintBeyondTheRowReverts() external {
        vm.expectRevert(abi.encodeWithSelector(ExponentialSums.LaneOutOfRange.selector, 2, 2));
        _softmax(abi.encodePacked(ONE, ONE), 0, 2, 0);
    }

    function test_sum_lanesThatAreNotNumbersRevert() external {
        uint32[5] memory lanes = [INFINITY, NAN, 0xffc00000, INFINITY + 1, NEGATIVE_INFINITY + 1];
        for (uint256 i; i < lanes.length; ++i) {
            for (uint256 at; at < 3; ++at) {
                uint32[3] memory row = [ONE, ONE, ONE];
                row[at] = lanes[i];
                for (uint256 hint; hint < 3; ++hint) {
                    vm.expectRevert(abi.encodeWithSelector(ExponentialSums.NonFiniteLane.selector));
                    _softmax(abi.encodePacked(row[0], row[1], row[2]), 0, hint, 0);
                }
            }
        }
    }

    function test_sum_aRowOfNegativeInfinitiesReverts() external {
        vm.expectRevert(abi.encodeWithSelector(ExponentialSums.NonFiniteLane.selector));
        _softmax(abi.encodePacked(NEGATIVE_INFINITY, NEGATIVE_INFINITY), 0, 0, NAN);
    }

    function test_sum_moreLanesThanTheAccumulatorsHoldRevert() external {
        vm.expectRevert(abi.encodeWithSelector(ExponentialSums.TooManyLanes.selector, 131_073, 131_072));
        _softmax(new bytes(4 * 131_073), 0, 0, 0);
    }

    function testFuzz_softmax_onlyTheMaximumIsAHint(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 lanes = 2 + random.below(20);
        uint256 largest = random.below(lanes);
        bytes memory row;
        for (uint256 i; i < lanes; ++i) {
            row = abi.encodePacked(row, i == largest ? QUARTER : uint32(0x80000000 | random.below(QUARTER)));
        }
        for (uint256 hint; hint < lanes + 2; ++hint) {
            bytes memory input = abi.encodeCall(rows.refutesOne, ("softmax", row, 0, hint, ONE + 100));
            (bool done, bytes memory output) = address(rows).staticcall(input);
            require(done == (hint == largest), "a wrong hint passes, or the right one does not");
            require(!done || abi.decode(output, (bool)), "an element above 1 is not refuted");
        }
    }

    function test_softmax_ofManyTermsHasAWiderSecondOrder() external view {
        bytes memory row = new bytes(4 * 70_000); // gamma is 0.00419, above 2^-8
        require(!_softmax(row, 0, 0, 0x3770b171), "refuted 1.00425 / n, beyond r (1 + 2^-7)");
        require(_softmax(row, 0, 0, 0x3770baa5), "not refuted 1.0044 / n, beyond r (1 + 2^-5)");
        require(_log(row, 0, 0, ONE), "not refuted ONE");
    }

    function test_softmax_tooManyTermsForTheBoundRefuteNothing() external pure {
        uint256 lanes = 262_000; // gamma is above 2^-6
        ExponentialSums.Sums memory sums = ExponentialSums.enclose(ExponentialSums.Parts(lanes << 80, 0), lanes, 0);
        require(!Softmax.refutes(sums, lanes, 0, ONE) && !Softmax.refutesLog(sums, lanes, 0, ONE), "refuted");
        lanes = 250_000;
        sums = ExponentialSums.enclose(ExponentialSums.Parts(lanes << 80, 0), lanes, 0);
        require(Softmax.refutes(sums, lanes, 0, ONE) && Softmax.refutesLog(sums, lanes, 0, ONE), "not refuted");
    }

    function _softmax(bytes memory row, uint256 lane, uint256 largest, uint32 y) private view returns (bool) {
        return rows.refutesOne("softmax", row, lane, largest, y);
    }

    function _log(bytes memory row, uint256 lane, uint256 largest, uint32 y) private view returns (bool) {
        return rows.refutesOne("log_softmax", row, lane, largest, y);
    }
}
