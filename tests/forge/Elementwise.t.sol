// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Elementwise } from "../../contracts/libraries/Elementwise.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { vm } from "./support/Vm.sol";

contract ElementwiseFrame {
    function refutes(string calldata name, uint32[] memory x, uint32[] memory attributes, uint32 y)
        external
        pure
        returns (bool)
    {
        return Elementwise.refutes(Operator.wrap(bytes4(keccak256(bytes(name)))), x, attributes, y);
    }
}

contract ElementwiseTest {
    uint32 private constant ONE = 0x3f800000;
    uint32 private constant TWO = 0x40000000;
    uint32 private constant THREE = 0x40400000;
    uint32 private constant SIGN = 0x80000000;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant SMALLEST_NORMAL = 0x00800000;
    uint32 private constant LARGEST_SUBNORMAL = 0x007fffff;
    uint32 private constant LARGEST = 0x7f7fffff;

    ElementwiseFrame private frame = new ElementwiseFrame();

    // ---- hand-made cases on both sides of a bound

    function test_mul_isRefutedTwoUnitsAway() external view {
        _requireStands("aten.mul.Tensor", _pair(THREE, THREE), 0x41100000); // 9
        _requireStands("aten.mul.Tensor", _pair(ONE, ONE), ONE - 1); // 1 - u
        _requireRefuted("aten.mul.Tensor", _pair(ONE, ONE), ONE + 1); // 1 + 2 u
        _requireRefuted("aten.mul.Tensor", _pair(THREE, THREE), 0x41100001);
        _requireRefuted("aten.mul.Tensor", _pair(THREE, THREE), 0xc1100000);
    }

    function test_mul_byANumberOfTheCallHasOneRoundingMore() external view {
        require(!frame.refutes("aten.mul.Scalar", _one(ONE), _one(ONE), ONE + 1), "1 + 2 u");
        require(frame.refutes("aten.mul.Scalar", _one(ONE), _one(ONE), ONE + 2), "1 + 4 u");
    }

    function test_add_cancelledToZeroAllowsOnlyFlushes() external view {
        uint32[] memory x = _pair(THREE, THREE | SIGN);
        _requireStands("aten.add.Tensor", x, 0);
        _requireStands("aten.add.Tensor", x, SMALLEST_NORMAL * 2 + 0x400000); // 3 * 2^-126
        _requireRefuted("aten.add.Tensor", x, SMALLEST_NORMAL * 2 + 0x400100);
    }

    function test_sub_alphaScalesTheSecondOperand() external view {
        uint32[] memory x = _pair(ONE, TWO);
        require(!frame.refutes("aten.sub.Tensor", x, _one(THREE), 0xc0a00000), "1 - 3 * 2 = -5");
        require(frame.refutes("aten.sub.Tensor", x, _one(THREE), 0x40a00000), "not 5");
        require(!frame.refutes("aten.rsub.Scalar", _one(TWO), _pair(ONE, THREE), 0xc0a00000), "1 - 3 * 2 = -5");
    }

    function test_subnormals_mayCountAsZero() external view {
        _requireStands("aten.mul.Tensor", _pair(LARGEST_SUBNORMAL, LARGEST), 0);
        _requireStands("aten.sqrt.default", _one(LARGEST_SUBNORMAL), 0);
        _requireStands("aten.leaky_relu.default", _one(LARGEST_SUBNORMAL), _one(ONE), 0);
        _requireRefuted("aten.mul.Tensor", _pair(SMALLEST_NORMAL, LARGEST), 0);
        _requireRefuted("aten.sqrt.default", _one(SMALLEST_NORMAL), 0);
    }

    function test_leakyRelu_copiesNumbersAboveZero() external view {
        require(!frame.refutes("aten.leaky_relu.default", _one(THREE), _one(TWO), THREE), "3");
        require(frame.refutes("aten.leaky_relu.default", _one(THREE), _one(TWO), THREE + 1), "not quite 3");
        require(!frame.refutes("aten.leaky_relu.default", _one(THREE | SIGN), _one(TWO), 0xc0c00000), "-6");
    }

    // ---- infinities and NaN

    function testFuzz_nonFiniteOperands_refuteNothing(uint256 which, uint32 other, uint32 y) external view {
        uint32 special = [INFINITY, INFINITY | SIGN, NAN][which % 3];
        require(!frame.refutes("aten.add.Tensor", _pair(special, other), _none(), y), "first");
        require(!frame.refutes("aten.div.Tensor", _pair(other, special), _none(), y), "second");
        require(!frame.refutes("aten.mul.Scalar", _one(other), _one(special), y), "attribute");
        require(!frame.refutes("aten.exp.default", _one(special), _none(), y), "unary");
    }

    function test_nonFiniteResult_isRefutedWhereNothingOverflows() external view {
        uint32 limit = 0x7f000000; // 2^127
        _requireRefuted("aten.mul.Tensor", _pair(ONE, limit - 1), INFINITY);
        _requireRefuted("aten.mul.Tensor", _pair(ONE, ONE), NAN);
        _requireStands("aten.mul.Tensor", _pair(ONE, limit), INFINITY);
        _requireStands("aten.exp.default", _one(0x42b40000), INFINITY); // e^90
        _requireRefuted("aten.exp.default", _one(0x42b40000), LARGEST);
        _requireRefuted("aten.exp.default", _one(LARGEST), LARGEST);
        _requireRefuted("aten.sin.default", _one(ONE), NAN);
    }

    function test_nonFiniteResult_standsWhereAnIntermediateMayOverflow() external view {
        uint32 large = 0x7e800000; // 2^126
        _requireStands("aten.hardswish.default", _one(large), INFINITY); // 6 * 2^126 on the way
        _requireRefuted("aten.hardswish.default", _one(0x7c800000), INFINITY); // 2^122
        require(!frame.refutes("aten.add.Tensor", _pair(LARGEST | SIGN, large), _one(TWO), INFINITY), "2 * 2^126");
    }

    function test_overflowLimit_holdsForTheLargestExponents() external view {
        // f is 2^254 and far above every limit, whatever the units.
        _requireStands("aten.mul.Tensor", _pair(LARGEST, LARGEST), INFINITY);
        _requireStands("aten.div.Tensor", _pair(LARGEST, SMALLEST_NORMAL), INFINITY);
        require(!frame.refutes("aten.pow.Tensor_Scalar", _one(LARGEST), _one(0x41000000), INFINITY), "x^8");
        require(frame.refutes("aten.pow.Tensor_Scalar", _one(LARGEST), _one(0x41000000), LARGEST), "x^8 is larger");
    }

    // ---- outside the domain

    function testFuzz_outsideTheDomain_nothingIsRefuted(uint32 bits, uint32 y) external view {
        uint32 negative = bits | SIGN;
        _requireStands("aten.log.default", _one(negative), y);
        _requireStands("aten.rsqrt.default", _one(negative), y);
        if (bits & ~SIGN != 0) _requireStands("aten.sqrt.default", _one(negative), y);
        uint32 tiny = bits & (SIGN | LARGEST_SUBNORMAL);
        _requireStands("aten.log.default", _one(tiny), y);
        _requireStands("aten.rsqrt.default", _one(tiny), y);
        _requireStands("aten.reciprocal.default", _one(tiny), y);
        _requireStands("aten.div.Tensor", _pair(bits, tiny), y);
        uint32 far = (bits | 0x4e800001) & ~SIGN;
        _requireStands("aten.sin.default", _one(far), y);
        _requireStands("aten.cos.default", _one(far), y);
    }

    // ---- algebra

    function testFuzz_add_commutesAndSubAddsTheNegative(uint32 a, uint32 b, uint32 y) external view {
        bool verdict = frame.refutes("aten.add.Tensor", _pair(a, b), _none(), y);
        require(verdict == frame.refutes("aten.add.Tensor", _pair(b, a), _none(), y), "order");
        require(verdict == frame.refutes("aten.add.Tensor", _pair(a ^ SIGN, b ^ SIGN), _none(), y ^ SIGN), "sign");
        require(verdict == frame.refutes("aten.sub.Tensor", _pair(a, b ^ SIGN), _none(), y), "difference");
        require(verdict == frame.refutes("aten.add.Tensor", _pair(a, b), _one(ONE), y), "alpha of 1");
        // A number of the call gives more room, never less.
        if (frame.refutes("aten.add.Scalar", _one(a), _one(b), y)) require(verdict, "scalar");
    }

    function testFuzz_products_agree(uint32 x, uint32 y) external view {
        bool square = frame.refutes("aten.mul.Tensor", _pair(x, x), _none(), y);
        require(square || !frame.refutes("aten.pow.Tensor_Scalar", _one(x), _one(TWO), y), "square");
        require(
            frame.refutes("aten.reciprocal.default", _one(x), _none(), y)
                == frame.refutes("aten.div.Tensor", _pair(ONE, x), _none(), y),
            "reciprocal"
        );
        bool root = frame.refutes("aten.sqrt.default", _one(x), _none(), y);
        require(root == frame.refutes("aten.pow.Tensor_Scalar", _one(x), _one(0x3f000000), y), "root");
    }

    function testFuzz_quotient_nearbyIsNotRefuted(uint32 a) external view {
        // x / x and x - x are known.
        a = a % 0x7f000000 + 0x800000;
        _requireStands("aten.div.Tensor", _pair(a, a), ONE);
        _requireStands("aten.sub.Tensor", _pair(a, a), 0);
        _requireRefuted("aten.div.Tensor", _pair(a, a), ONE + (a > 0x7e000000 ? ONE : 8));
    }

    // ---- what is refused

    function test_refutes_unknownOperator_reverts() external {
        vm.expectPartialRevert(Elementwise.UnsupportedOperator.selector);
        frame.refutes("aten.relu.default", _one(ONE), _none(), ONE);
    }

    function test_refutes_wrongCounts_revert() external {
        vm.expectRevert(abi.encodeWithSelector(Elementwise.WrongOperandCount.selector, 1, 2));
        frame.refutes("aten.mul.Tensor", _one(ONE), _none(), ONE);
        vm.expectRevert(abi.encodeWithSelector(Elementwise.WrongOperandCount.selector, 2, 1));
        frame.refutes("aten.exp.default", _pair(ONE, ONE), _none(), ONE);
        vm.expectRevert(abi.encodeWithSelector(Elementwise.WrongAttributeCount.selector, 0, 1, 2));
        frame.refutes("aten.add.Scalar", _one(ONE), _none(), ONE);
        vm.expectRevert(abi.encodeWithSelector(Elementwise.WrongAttributeCount.selector, 1, 0, 0));
        frame.refutes("aten.exp.default", _one(ONE), _one(ONE), ONE);
    }

    function test_refutes_unknownAttributes_revert() external {
        uint32[4] memory exponents = [uint32(0x41100000), 0x40200000, ONE, 0xc0000000]; // 9, 2.5, 1, -2
        for (uint256 i; i < exponents.length; ++i) {
            vm.expectPartialRevert(Elementwise.UnsupportedAttribute.selector);
            frame.refutes("aten.pow.Tensor_Scalar", _one(ONE), _one(exponents[i]), ONE);
        }
        vm.expectPartialRevert(Elementwise.UnsupportedAttribute.selector);
        frame.refutes("aten.gelu.default", _one(ONE), _one(TWO), ONE);
    }

    function _requireStands(string memory name, uint32[] memory x, uint32 y) private view {
        require(!frame.refutes(name, x, _none(), y), name);
    }

    function _requireStands(string memory name, uint32[] memory x, uint32[] memory attributes, uint32 y) private view {
        require(!frame.refutes(name, x, attributes, y), name);
    }

    function _requireRefuted(string memory name, uint32[] memory x, uint32 y) private view {
        require(frame.refutes(name, x, _none(), y), name);
    }

    function _none() private pure returns (uint32[] memory) {
        return new uint32[](0);
    }

    function _one(uint32 a) private pure returns (uint32[] memory list) {
        list = new uint32[](1);
        list[0] = a;
    }

    function _pair(uint32 a, uint32 b) private pure returns (uint32[] memory list) {
        list = new uint32[](2);
        (list[0], list[1]) = (a, b);
    }
}
