// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Balls } from "../../contracts/libraries/Ball.sol";
import { Moments } from "../../contracts/libraries/Moments.sol";
import { Normalisation } from "../../contracts/libraries/Normalisation.sol";
import { Floats } from "./support/Floats.sol";
import { vm } from "./support/Vm.sol";

contract NormalisationHarness {
    function refutesLayer(bytes calldata row, uint256 window, Normalisation.Element calldata element)
        external
        pure
        returns (bool)
    {
        return Normalisation.refutesLayer(_sums(row, window), row.length / 4, element);
    }

    function refutesRms(bytes calldata row, uint256 window, Normalisation.Element calldata element)
        external
        pure
        returns (bool)
    {
        return Normalisation.refutesRms(_sums(row, window), row.length / 4, element);
    }

    function refutesBatch(uint32 mean, uint32 variance, Normalisation.Element calldata element)
        external
        pure
        returns (bool)
    {
        return Normalisation.refutesBatch(mean, variance, element);
    }

    function _sums(bytes calldata row, uint256 window) private pure returns (Moments.Sums memory) {
        uint256 run;
        assembly ("memory-safe") {
            run := row.offset
        }
        return Moments.sums(run, row.length / 4, window);
    }
}

/// @dev Cases that can be worked out by hand; tests/contracts/test_normalisation_exact.py has the others.
contract NormalisationTest {
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant SMALL = 0x3727c5ac; // 1e-5
    uint256 private constant WINDOW = 80; // up to 2^16

    enum Kind {
        LAYER,
        RMS,
        BATCH
    }

    struct Case {
        Kind kind;
        bytes row;
        uint32 mean;
        uint32 variance;
        Normalisation.Element element;
    }

    NormalisationHarness private harness = new NormalisationHarness();

    // ---- values ----

    function test_layer_scalesByTheDeviationFromTheMean() external view {
        // 1, 1, 5, 5: mean 3, deviation 2; (5 - 3) / 2 * 7 - 4 = 3
        _requireOnly(3, _layer(_row(1, 1, 5, 5), _element(5, 7, -4)));
        _requireOnly(-11, _layer(_row(1, 1, 5, 5), _element(1, 7, -4)));
    }

    function test_rms_scalesByTheRootMeanSquare() external view {
        // 1, 7, 1, 7: root mean square 5; 7 / 5 * 15 = 21
        _requireOnly(21, _rms(_row(1, 7, 1, 7), _element(7, 15, 0)));
    }

    function test_batch_scalesByTheCommittedVariance() external view {
        // (9 - 3) / sqrt(4) * 5 - 2 = 13
        _requireOnly(13, _batch(3, 4, _element(9, 5, -2)));
    }

    function test_epsilon_isAddedToTheVariance() external view {
        Normalisation.Element memory element = _element(5, 7, -4);
        element.epsilon = Floats.ofInteger(12); // 4 + 12 = 4^2
        element.claimed = 0xbf000000; // 2 / 4 * 7 - 4 = -1/2
        require(!harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element), "layer");
        require(!harness.refutesBatch(Floats.ofInteger(3), Floats.ofInteger(4), element), "batch");
        element.bias = 0;
        element.claimed = 0x40e00000; // 5 / sqrt(13 + 12) * 7
        require(!harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "rms");
        element.epsilon = 0;
        require(harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "rms without it");
    }

    // ---- what refutes nothing ----

    function test_layer_ofAConstantRowWithoutEpsilonRefutesNothing() external view {
        require(!_refutesLayer(_row(3, 3, 3, 3), 0), "it has no inverse root");
    }

    function test_layer_farFromZeroRefutesNothing() external view {
        // E[x^2] / (var + eps) is 10^4 and 10^10: the one-pass variance is off by 3 gamma of as much.
        bytes memory near = _row(99, 101, 99, 101);
        require(_refutesLayer(near, SMALL), "near enough");
        require(!_refutesLayer(_row(65_534, 65_536, 65_534, 65_536), SMALL), "too far");
    }

    function test_refutes_negativeEpsilonOrVarianceRefutesNothing() external view {
        uint32 negative = SMALL | 0x80000000;
        require(!_refutesLayer(_row(1, 1, 5, 5), negative), "layer");
        Normalisation.Element memory element = _element(5, 1, 0);
        element.claimed = Floats.ofInteger(100);
        require(harness.refutesBatch(0, Floats.ofInteger(4), element), "batch");
        require(!harness.refutesBatch(0, Floats.ofInteger(-4), element), "negative variance");
        element.epsilon = negative;
        require(!harness.refutesBatch(0, Floats.ofInteger(4), element), "batch, negative epsilon");
        require(!harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "rms");
    }

    function test_refutes_squaresThatMayOverflowRefuteNothing() external view {
        // n sum x^2 is 4 for 2^62, which refutes, and 2^126 for two of 2^62.
        Normalisation.Element memory element = _element(1, 1, 0);
        element.claimed = Floats.ofInteger(100);
        bytes memory below = abi.encodePacked(uint32(0x5d800000), uint32(0)); // 2^60
        bytes memory above = abi.encodePacked(uint32(0x5e800000), uint32(0x5e800000)); // 2^62
        require(harness.refutesRms(below, 128, element), "2^121");
        require(!harness.refutesRms(above, 128, element), "2^126");
        element.epsilon = 0x7f000000; // 2^127
        require(!harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "epsilon");
        require(!harness.refutesBatch(0, 0, element), "batch");
    }

    function test_batch_varianceThatMayBeFlushedRefutesNothing() external view {
        Normalisation.Element memory element = _element(0, 1, 0);
        element.claimed = Floats.ofInteger(100);
        require(harness.refutesBatch(0, 0x0e800000, element), "2^-98");
        require(!harness.refutesBatch(0, 0x0e7fffff, element), "below 2^-98");
    }

    // ---- numbers that are not finite ----

    function test_refutes_nonFiniteResultsAreRefutedWhereNothingOverflows() external view {
        Normalisation.Element memory element = _element(5, 7, -4);
        for (uint256 i; i < 3; ++i) {
            element.claimed = i == 0 ? INFINITY : i == 1 ? INFINITY | 0x80000000 : NAN;
            require(harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element), "layer");
            require(harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "rms");
            require(harness.refutesBatch(0, Floats.ofInteger(4), element), "batch");
        }
        element.weight = 0x7f000000; // 2^127
        require(!harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element), "layer that may overflow");
        require(!harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element), "rms that may overflow");
        require(!harness.refutesBatch(0, Floats.ofInteger(4), element), "batch that may overflow");
    }

    function test_refutes_nonFiniteParametersRevert() external {
        Normalisation.Element memory element = _element(5, 7, -4);
        bytes memory notFinite = abi.encodeWithSelector(Balls.NotFinite.selector, NAN);
        element.weight = NAN;
        vm.expectRevert(notFinite);
        harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element);
        vm.expectRevert(notFinite);
        harness.refutesRms(_row(1, 1, 5, 5), WINDOW, element);
        element = _element(5, 7, -4);
        element.bias = NAN;
        vm.expectRevert(notFinite);
        harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element);
        element = _element(5, 7, -4);
        element.epsilon = NAN;
        vm.expectRevert(notFinite);
        harness.refutesLayer(_row(1, 1, 5, 5), WINDOW, element);
        vm.expectRevert(notFinite);
        harness.refutesBatch(0, 0, element);
        vm.expectRevert(notFinite);
        harness.refutesBatch(NAN, Floats.ofInteger(1), _element(5, 7, -4));
    }

    // ---- cases ----

    /// @dev `right` stands; neighbours beyond the tolerance of 2^-16 or less do not.
    function _requireOnly(int256 right, Case memory case_) private view {
        case_.element.claimed = Floats.ofInteger(right);
        require(!_refutes(case_), "the right element is refuted");
        case_.element.claimed += 0x1000;
        require(_refutes(case_), "more is not refuted");
        case_.element.claimed -= 0x2000;
        require(_refutes(case_), "less is not refuted");
    }

    function _refutes(Case memory case_) private view returns (bool) {
        if (case_.kind == Kind.LAYER) return harness.refutesLayer(case_.row, WINDOW, case_.element);
        if (case_.kind == Kind.RMS) return harness.refutesRms(case_.row, WINDOW, case_.element);
        return harness.refutesBatch(case_.mean, case_.variance, case_.element);
    }

    function _layer(bytes memory row, Normalisation.Element memory element) private pure returns (Case memory) {
        return Case(Kind.LAYER, row, 0, 0, element);
    }

    function _rms(bytes memory row, Normalisation.Element memory element) private pure returns (Case memory) {
        return Case(Kind.RMS, row, 0, 0, element);
    }

    function _batch(int256 mean, int256 variance, Normalisation.Element memory element)
        private
        pure
        returns (Case memory)
    {
        return Case(Kind.BATCH, "", Floats.ofInteger(mean), Floats.ofInteger(variance), element);
    }

    /// @dev Whether 100 is refuted for the row's first number.
    function _refutesLayer(bytes memory row, uint32 epsilon) private view returns (bool) {
        Normalisation.Element memory element = _element(0, 1, 0);
        element.x = uint32(bytes4(row));
        element.epsilon = epsilon;
        element.claimed = Floats.ofInteger(100);
        return harness.refutesLayer(row, WINDOW, element);
    }

    function _row(int256 a, int256 b, int256 c, int256 d) private pure returns (bytes memory) {
        return abi.encodePacked(Floats.ofInteger(a), Floats.ofInteger(b), Floats.ofInteger(c), Floats.ofInteger(d));
    }

    function _element(int256 x, int256 weight, int256 bias)
        private
        pure
        returns (Normalisation.Element memory element)
    {
        element.x = Floats.ofInteger(x);
        element.weight = Floats.ofInteger(weight);
        element.bias = Floats.ofInteger(bias);
    }
}
