// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "../../contracts/libraries/Ball.sol";
import { vm } from "./support/Vm.sol";

/// @dev A frame of its own, so that reverts can be expected.
contract BallFrame {
    function fromFloat32(uint32 bits) external pure returns (Ball memory) {
        return Balls.fromFloat32(bits);
    }

    function div(Ball memory a, Ball memory b) external pure returns (Ball memory) {
        return a.div(b);
    }

    function sqrt(Ball memory a) external pure returns (Ball memory) {
        return a.sqrt();
    }

    function rsqrt(Ball memory a) external pure returns (Ball memory) {
        return a.rsqrt();
    }
}

contract BallTest {
    uint256 private constant LARGEST_RESULT = (1 << 120) + 2;

    BallFrame private frame = new BallFrame();

    function testFuzz_fromFloat32_isExact(uint32 bits) external {
        if ((bits >> 23) & 0xff == 0xff) {
            vm.expectRevert(abi.encodeWithSelector(Balls.NotFinite.selector, bits));
            frame.fromFloat32(bits);
            return;
        }
        Ball memory ball = Balls.fromFloat32(bits);
        require(ball.rad == 0 && (ball.mid < 0 || bits >> 31 == 0 || ball.mid == 0), "sign or radius");
        uint256 mantissa = uint256(ball.mid < 0 ? -ball.mid : ball.mid);
        uint256 exponent = uint256(ball.exp + 150);
        require((mantissa < 1 << 23) == (bits & 0x7f800000 == 0), "leading bit");
        require(exponent == (bits >> 23) & 0xff || (mantissa < 1 << 23 && exponent == 1), "exponent");
        require(mantissa & 0x7fffff == bits & 0x7fffff, "fraction");
    }

    // ---- algebra

    function testFuzz_add_commutesAndSubUndoesIt(int128 m, uint64 r, int16 e, int128 n, uint64 s, int16 f)
        external
        pure
    {
        (Ball memory a, Ball memory b) = (_ball(m, r, e), _ball(n, s, f));
        Ball memory sum = a.add(b);
        _requireEqual(sum, b.add(a));
        _requireNormal(sum);
        _requireOverlap(sum.sub(b), a);
    }

    function testFuzz_mul_distributesAndDivUndoesIt(int128 m, uint64 r, int8 e, int128 n, uint64 s, int8 f)
        external
        pure
    {
        (Ball memory a, Ball memory b) = (_ball(m, r, e), _ball(n, s, f));
        Ball memory product = a.mul(b);
        _requireEqual(product, b.mul(a));
        _requireNormal(product);
        _requireOverlap(a.mul(a.add(b)), a.mul(a).add(product));
        if (_magnitude(b) > b.rad) {
            Ball memory quotient = product.div(b);
            _requireNormal(quotient);
            _requireOverlap(quotient, a);
        }
    }

    function testFuzz_sqrt_squaredContainsTheRadicand(uint120 m, uint64 r, int16 e) external pure {
        Ball memory a = Ball(int256(uint256(m) + r + 1), r, e);
        Ball memory root = a.sqrt();
        _requireNormal(root);
        _requireOverlap(root.mul(root), a);
        Ball memory inverse = a.rsqrt();
        _requireNormal(inverse);
        _requireOverlap(inverse.mul(root), Balls.exact(1, 0));
        _requireOverlap(inverse.mul(inverse).mul(a), Balls.exact(1, 0));
    }

    function testFuzz_mulPow2_isExact(int128 m, uint64 r, int16 e, int16 k) external pure {
        Ball memory a = _ball(m, r, e);
        _requireEqual(a.mulPow2(k).mulPow2(-int256(k)), a);
    }

    function testFuzz_results_ofExactNumbersOf56BitsAreExact(int56 m, int56 n, int8 gap) external pure {
        (Ball memory a, Ball memory b) = (Balls.exact(m, 0), Balls.exact(n, gap % 60));
        require(a.mul(b).rad == 0 && a.add(b).rad == 0 && a.sub(b).rad == 0, "rounded");
    }

    // ---- comparison

    function testFuzz_exceeds_isTheOrderOfExactMagnitudes(int64 m, int64 n, uint8 shift) external pure {
        uint256 up = shift % 60;
        uint256 a = _magnitude(Balls.exact(m, 0)) << up;
        uint256 b = _magnitude(Balls.exact(n, 0));
        require(Balls.exact(m, int256(up) - 30).exceeds(Balls.exact(n, -30)) == (a > b), "order");
        require(Balls.exact(n, -30).exceeds(Balls.exact(m, int256(up) - 30)) == (b > a), "reverse order");
    }

    function testFuzz_exceeds_atMostOneWay(int128 m, uint64 r, int16 e, int128 n, uint64 s, int16 f) external pure {
        (Ball memory a, Ball memory b) = (_ball(m, r, e), _ball(n, s, f));
        require(!a.exceeds(b) || !b.exceeds(a), "both larger");
        require(!a.exceeds(a), "larger than itself");
        require(!a.exceeds(a.upperBound()), "above its bound");
    }

    function test_exceeds_countsBothRadii() external pure {
        Ball memory b = Ball(60, 3, 0);
        require(!Ball(64, 1, 0).exceeds(b), "63 does not exceed 63");
        require(Ball(65, 1, 0).exceeds(b) && Ball(-65, 1, 0).exceeds(b), "64 exceeds 63");
        require(!Ball(2, 2, 0).exceeds(Balls.exact(0, 0)), "may be 0");
        require(Ball(3, 2, 0).exceeds(Balls.exact(0, 0)), "is not 0");
    }

    function test_isOutside_toleranceFarAboveTheWordOfADeviation_isFalse() external pure {
        // A term of flush to zero that does not fit where the deviation's unit is tiny must not be lost.
        Ball memory f = Balls.exact(1, -1000);
        require(!Balls.isOutside(0, f, Balls.exact(1, -126)), "2^-126 covers 2^-1000");
        require(!Balls.isOutside(1, f, Balls.exact(1, 1000)), "2^1000 covers 2^-149");
        require(Balls.isOutside(1, f, Balls.exact(1, -1000)), "2^-149 exceeds 2^-1000");
        require(!Balls.isOutside(0, Balls.exact(0, 5000), Balls.exact(0, 0)), "0 is 0");
    }

    function test_isOutside_tellsOneUnitInTheLastPlace() external pure {
        Ball memory one = Balls.exact(1, 0);
        require(!Balls.isOutside(0x3f800001, one, Balls.exact(1, -23)), "at the tolerance");
        require(Balls.isOutside(0x3f800001, one, Balls.exact((1 << 60) - 1, -83)), "a hair above it");
        require(Balls.isOutside(0xbf800000, one, Balls.exact(1, 0)), "the sign counts");
    }

    // ---- what is refused

    function test_div_byABallWithZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Balls.DivisorMayBeZero.selector));
        frame.div(Balls.exact(1, 0), Ball(-5, 5, 0));
    }

    function test_sqrt_ofABallBelowZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Balls.RadicandMayBeNegative.selector));
        frame.sqrt(Ball(5, 6, 0));
    }

    function test_rsqrt_ofABallWithZero_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Balls.RadicandMayBeNegative.selector));
        frame.rsqrt(Ball(5, 5, 0));
    }

    function _ball(int128 m, uint64 r, int16 e) private pure returns (Ball memory) {
        return Ball(int256(m) >> 8, r, e);
    }

    function _magnitude(Ball memory a) private pure returns (uint256) {
        return uint256(a.mid < 0 ? -a.mid : a.mid);
    }

    function _requireEqual(Ball memory a, Ball memory b) private pure {
        require(a.mid == b.mid && a.rad == b.rad && (a.exp == b.exp || a.mid == 0), "balls differ");
    }

    function _requireOverlap(Ball memory a, Ball memory b) private pure {
        require(!a.sub(b).exceeds(Balls.exact(0, 0)), "disjoint");
    }

    function _requireNormal(Ball memory a) private pure {
        require(_magnitude(a) <= LARGEST_RESULT && a.rad <= LARGEST_RESULT, "too many bits");
    }
}
