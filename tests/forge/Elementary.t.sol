// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "../../contracts/libraries/Ball.sol";
import { Elementary } from "../../contracts/libraries/Elementary.sol";
import { vm } from "./support/Vm.sol";

/// @dev Frames of their own, so that reverts can be expected and gas is that of a direct call.
contract ElementaryFrame {
    function exp(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.exp(x);
        gas -= gasleft();
    }

    function log(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.log(x);
        gas -= gasleft();
    }

    function sigmoid(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.sigmoid(x);
        gas -= gasleft();
    }

    function silu(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.silu(x);
        gas -= gasleft();
    }

    function tanh(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.tanh(x);
        gas -= gasleft();
    }

    function sin(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.sin(x);
        gas -= gasleft();
    }

    function erf(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.erf(x);
        gas -= gasleft();
    }

    function gelu(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.gelu(x);
        gas -= gasleft();
    }

    function geluTanh(Ball memory x) external view returns (Ball memory result, uint256 gas) {
        gas = gasleft();
        result = Elementary.geluTanh(x);
        gas -= gasleft();
    }
}

contract ElementaryTest {
    error TooMuchGas(string name, uint256 used, uint256 limit);

    ElementaryFrame private frame = new ElementaryFrame();

    // ---- known values

    function test_functions_areExactAtTheirZeros() external pure {
        Ball memory zero = Balls.exact(0, 0);
        _requireZero(Elementary.sin(zero));
        _requireZero(Elementary.tanh(zero));
        _requireZero(Elementary.erf(zero));
        _requireZero(Elementary.silu(zero));
        _requireZero(Elementary.gelu(zero));
        _requireZero(Elementary.geluTanh(zero));
        _requireZero(Elementary.log(Balls.exact(1, 0)));
        _requireZero(Elementary.log(Balls.exact(1 << 70, -70)));
    }

    function test_functions_containTheirValueAtZero() external pure {
        Ball memory zero = Balls.exact(0, 0);
        _requireOverlap(Elementary.exp(zero), Balls.exact(1, 0));
        _requireOverlap(Elementary.cos(zero), Balls.exact(1, 0));
        _requireOverlap(Elementary.sigmoid(zero), Balls.exact(1, -1));
    }

    function test_oneMinusAnExponentialOfNearlyOne_staysBelowOne() external pure {
        // Where e^-2x rounds to 1 or a bit more, 1 - e^-2x must neither run over nor lose tanh's relative accuracy.
        for (int256 e = -200; e < -3; ++e) {
            Ball memory x = Balls.exact(1, e);
            Ball memory y = Elementary.tanh(x);
            require(y.mid > 0 && !y.exceeds(x), "tanh(x) is above 0 and at most x");
            y = Elementary.geluTanh(x.neg());
            require(y.mid < 0 && x.exceeds(y), "geluTanh(-x) is above -x");
        }
    }

    function test_limits_areReachedFarOut() external pure {
        Ball memory one = Balls.exact(1, 0);
        for (int256 e = 7; e < 128; ++e) {
            Ball memory x = Balls.exact(1, e);
            _requireOverlap(Elementary.tanh(x), one);
            _requireOverlap(Elementary.erf(x.neg()), one.neg());
            _requireOverlap(Elementary.sigmoid(x), one);
            _requireOverlap(Elementary.gelu(x), x);
            _requireOverlap(Elementary.geluTanh(x), x);
            require(Balls.exact(1, -150).exceeds(Elementary.sigmoid(x.neg())), "sigmoid");
            require(Balls.exact(1, -150).exceeds(Elementary.exp(x.neg())), "exp");
            require(x.mulPow2(-50).exceeds(Elementary.gelu(x.neg())), "gelu");
        }
    }

    // ---- identities

    function testFuzz_exp_undoesLog(uint32 bits) external pure {
        Ball memory x = _positive(bits);
        _requireOverlap(Elementary.exp(Elementary.log(x)), x);
    }

    function testFuzz_log_ofAProductIsTheSum(uint32 a, uint32 b) external pure {
        (Ball memory x, Ball memory y) = (_positive(a), _positive(b));
        _requireOverlap(Elementary.log(x.mul(y)), Elementary.log(x).add(Elementary.log(y)));
    }

    function testFuzz_exp_ofASumIsTheProduct(int96 a, int96 b) external pure {
        (Ball memory x, Ball memory y) = (Balls.exact(a, -80), Balls.exact(b, -80));
        _requireOverlap(Elementary.exp(x.add(y)), Elementary.exp(x).mul(Elementary.exp(y)));
    }

    function testFuzz_sinAndCos_liePairwiseOnTheCircleAndDouble(int104 a) external pure {
        Ball memory x = Balls.exact(a, -76);
        (Ball memory s, Ball memory c) = (Elementary.sin(x), Elementary.cos(x));
        _requireOverlap(s.mul(s).add(c.mul(c)), Balls.exact(1, 0));
        _requireOverlap(Elementary.sin(x.mulPow2(1)), s.mul(c).mulPow2(1));
        _requireOverlap(Elementary.cos(x.mulPow2(1)), c.mul(c).sub(s.mul(s)));
    }

    function testFuzz_oddFunctions_areOdd(uint32 bits) external pure {
        Ball memory x = _positive(bits);
        Ball memory minus = x.neg();
        _requireOverlap(Elementary.tanh(x), Elementary.tanh(minus).neg());
        _requireOverlap(Elementary.erf(x), Elementary.erf(minus).neg());
    }

    function testFuzz_sigmoid_ofOppositesAddsToOne(uint32 bits) external pure {
        Ball memory x = _positive(bits);
        Ball memory sum = Elementary.sigmoid(x).add(Elementary.sigmoid(x.neg()));
        _requireOverlap(sum, Balls.exact(1, 0));
    }

    function testFuzz_gelu_ofOppositesDiffersByTheArgument(uint32 bits) external pure {
        Ball memory x = _positive(bits);
        _requireOverlap(Elementary.gelu(x).sub(Elementary.gelu(x.neg())), x);
        _requireOverlap(Elementary.geluTanh(x).sub(Elementary.geluTanh(x.neg())), x);
        _requireOverlap(Elementary.silu(x).sub(Elementary.silu(x.neg())), x);
    }

    // ---- what is refused

    function test_exp_from2To20On_reverts() external {
        frame.exp(Balls.exact(1, 20));
        vm.expectRevert(abi.encodeWithSelector(Elementary.ArgumentTooLarge.selector));
        frame.exp(Balls.exact((1 << 20) + 1, 0));
    }

    function test_sin_beyond2To30_reverts() external {
        frame.sin(Balls.exact(1, 30));
        vm.expectRevert(abi.encodeWithSelector(Elementary.ArgumentTooLarge.selector));
        frame.sin(Balls.exact(1, 31));
    }

    function test_log_ofABallWithZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Elementary.LogarithmOfNonPositive.selector));
        frame.log(Ball(3, 3, 0));
    }

    function test_allButLog_ofABallWiderThanOne_revert() external {
        function(Ball memory) external view returns (Ball memory, uint256)[8] memory functions =
            [frame.exp, frame.sigmoid, frame.silu, frame.tanh, frame.sin, frame.erf, frame.gelu, frame.geluTanh];
        Ball[3] memory balls = [Ball(3, 2, 0), Ball(0, 1 << 100, 0), Ball(0, 1, 100)];
        for (uint256 i; i < functions.length; ++i) {
            for (uint256 j; j < balls.length; ++j) {
                vm.expectRevert(abi.encodeWithSelector(Elementary.RadiusTooLarge.selector));
                functions[i](balls[j]);
            }
        }
    }

    // ---- gas

    function test_gas_ofEachFunction() external view {
        Ball memory x = Balls.fromFloat32(0x3fb504f3); // 1.414
        _requireGas("exp", frame.exp, x, 750);
        _requireGas("sigmoid", frame.sigmoid, x, 820);
        _requireGas("silu", frame.silu, x, 1120);
        _requireGas("tanh", frame.tanh, x, 850);
        _requireGas("geluTanh", frame.geluTanh, x, 1220);
        _requireGas("gelu", frame.gelu, x, 2550);
        _requireGas("log", frame.log, x, 1420);
        _requireGas("sin", frame.sin, x, 1480);
        _requireGas("erf of 6", frame.erf, Balls.exact(191, -5), 12_000);
    }

    function _requireGas(
        string memory name,
        function(Ball memory) external view returns (Ball memory, uint256) f,
        Ball memory x,
        uint256 limit
    ) private view {
        (, uint256 used) = f(x);
        if (used > limit) revert TooMuchGas(name, used, limit);
    }

    /// @dev A normal number.
    function _positive(uint32 bits) private pure returns (Ball memory) {
        return Balls.fromFloat32(bits % 0x7f000000 + 0x800000);
    }

    function _requireZero(Ball memory a) private pure {
        require(a.mid == 0 && a.rad == 0, "not exactly 0");
    }

    function _requireOverlap(Ball memory a, Ball memory b) private pure {
        require(!a.sub(b).exceeds(Balls.exact(0, 0)), "disjoint");
    }
}
