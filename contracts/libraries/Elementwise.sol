// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Operator } from "../types/Types.sol";
import { Ball, Balls } from "./Ball.sol";
import { Elementary } from "./Elementary.sol";
import { Limits } from "./Limits.sol";

/// @title Whether a claimed element of an elementwise FP32 operator is proven out of tolerance.
/// @notice With f the exact function of the element's inputs, u = 2^-24 and MIN = 2^-126, a finite y is refuted iff
/// |y - f| > tau is proven, where tau = A u |f| + B u |x| + C MIN, and |f| more where an input is subnormal, which
/// kernels may take for zero:
///
///     operator                               A      B       C
///     add, sub, rsub: see _sum               1      0       3
///     mul                                    1      0       1
///     div, reciprocal                        6      0       2
///     exp, tanh, sin, cos, rsqrt             6      0       2
///     erf, and 16 u more                     6      0       2
///     log, sqrt                              4      0       2
///     sigmoid                                10     0       2
///     silu                                   12     MIN/u   3
///     gelu, either form                      0      16      2
///     pow with n = 2 ... 8                   2 n    0       n
///     leaky_relu below zero                  2      0       1
///     leaky_relu from zero on                0      0       0
///     hardswish                              8      1       3
///
/// pow with 0.5, -0.5 and -1 is sqrt, rsqrt and reciprocal. A number of the ATen call, as against a tensor's element,
/// comes as an attribute, an FP32 word, although kernels may use it unrounded: A is 1 more for mul and div by one, and
/// 2 for leaky_relu. Libraries compute erf by polynomials that are accurate absolutely, not near its zero. Only 0 itself
/// may be rounded to 0. A divisor above 2^125 counts as a subnormal input, as kernels may multiply by its reciprocal.
/// An infinite or NaN y is refuted iff the largest intermediate result and tau stay below 2^127 together.
///
/// Nothing is refuted where an input or attribute is not finite; where f is not defined; for log and rsqrt of a subnormal
/// and division by one; for sin and cos beyond 2^30.
///
/// Attributes in order: add, sub, rsub: [other,] alpha, which may be left out where it is 1; mul.Scalar, div.Scalar:
/// other; pow: exponent; leaky_relu: slope; gelu: 1.0 for the form with tanh, 0 or none for that with erf.
library Elementwise {
    /// @param defined Whether anything can be refuted.
    /// @param value f.
    /// @param tolerance tau, or more.
    /// @param largest A bound of the intermediate results whose overflow would make y infinite or NaN.
    struct Rule {
        bool defined;
        Ball value;
        Ball tolerance;
        Ball largest;
    }

    bytes4 private constant ADD_TENSOR = bytes4(keccak256("aten.add.Tensor"));
    bytes4 private constant ADD_SCALAR = bytes4(keccak256("aten.add.Scalar"));
    bytes4 private constant SUB_TENSOR = bytes4(keccak256("aten.sub.Tensor"));
    bytes4 private constant SUB_SCALAR = bytes4(keccak256("aten.sub.Scalar"));
    bytes4 private constant RSUB_SCALAR = bytes4(keccak256("aten.rsub.Scalar"));
    bytes4 private constant MUL_TENSOR = bytes4(keccak256("aten.mul.Tensor"));
    bytes4 private constant MUL_SCALAR = bytes4(keccak256("aten.mul.Scalar"));
    bytes4 private constant DIV_TENSOR = bytes4(keccak256("aten.div.Tensor"));
    bytes4 private constant DIV_SCALAR = bytes4(keccak256("aten.div.Scalar"));
    bytes4 private constant RECIPROCAL = bytes4(keccak256("aten.reciprocal.default"));
    bytes4 private constant EXP = bytes4(keccak256("aten.exp.default"));
    bytes4 private constant LOG = bytes4(keccak256("aten.log.default"));
    bytes4 private constant TANH = bytes4(keccak256("aten.tanh.default"));
    bytes4 private constant ERF = bytes4(keccak256("aten.erf.default"));
    bytes4 private constant SIN = bytes4(keccak256("aten.sin.default"));
    bytes4 private constant COS = bytes4(keccak256("aten.cos.default"));
    bytes4 private constant SQRT = bytes4(keccak256("aten.sqrt.default"));
    bytes4 private constant RSQRT = bytes4(keccak256("aten.rsqrt.default"));
    bytes4 private constant SIGMOID = bytes4(keccak256("aten.sigmoid.default"));
    bytes4 private constant SILU = bytes4(keccak256("aten.silu.default"));
    bytes4 private constant GELU = bytes4(keccak256("aten.gelu.default"));
    bytes4 private constant POW = bytes4(keccak256("aten.pow.Tensor_Scalar"));
    bytes4 private constant LEAKY_RELU = bytes4(keccak256("aten.leaky_relu.default"));
    bytes4 private constant HARDSWISH = bytes4(keccak256("aten.hardswish.default"));

    int256 private constant UNIT_ROUNDOFF = -24; // log2 u
    int256 private constant SMALLEST_NORMAL = -126; // log2 MIN

    uint32 private constant ONE = 0x3f800000;
    uint32 private constant HALF = 0x3f000000;
    uint32 private constant SIGN = 0x80000000;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant THREE = 0x40400000;
    uint32 private constant TWO_POW_10 = 0x44800000;
    uint32 private constant TWO_POW_30 = 0x4e800000;
    uint32 private constant TWO_POW_125 = 0x7e000000;

    error UnsupportedOperator(Operator op);
    error UnsupportedAttribute(Operator op, uint32 bits);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 least, uint256 most);

    /// @notice The operators that `refutes` decides.
    function operators() internal pure returns (Operator[] memory list) {
        bytes4[24] memory names = [
            ADD_TENSOR,
            ADD_SCALAR,
            SUB_TENSOR,
            SUB_SCALAR,
            RSUB_SCALAR,
            MUL_TENSOR,
            MUL_SCALAR,
            DIV_TENSOR,
            DIV_SCALAR,
            RECIPROCAL,
            EXP,
            LOG,
            TANH,
            ERF,
            SIN,
            COS,
            SQRT,
            RSQRT,
            SIGMOID,
            SILU,
            GELU,
            POW,
            LEAKY_RELU,
            HARDSWISH
        ];
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @notice Whether y is proven out of tolerance.
    /// @param x The element of each operand, as FP32 encodings like the attributes and y.
    function refutes(Operator op, uint32[] memory x, uint32[] memory attributes, uint32 y)
        internal
        pure
        returns (bool)
    {
        Rule memory rule = _rule(op, x, attributes);
        if (!rule.defined) return false;
        if (Limits.isFinite(y)) return Balls.isOutside(y, rule.value, rule.tolerance);
        return Balls.exact(1, 127).exceeds(rule.largest.upperBound().add(rule.tolerance));
    }

    function _rule(Operator operator, uint32[] memory x, uint32[] memory attributes)
        private
        pure
        returns (Rule memory rule)
    {
        bytes4 op = Operator.unwrap(operator);
        bool ofTensors = op == ADD_TENSOR || op == SUB_TENSOR || op == MUL_TENSOR || op == DIV_TENSOR;
        uint256 operands = ofTensors ? 2 : 1;
        if (x.length != operands) revert WrongOperandCount(x.length, operands);
        (uint256 least, uint256 most) = _attributeCounts(op);
        if (attributes.length < least || attributes.length > most) {
            revert WrongAttributeCount(attributes.length, least, most);
        }
        // INVARIANT: infinite and NaN operands refute nothing.
        if (!_areFinite(x) || !_areFinite(attributes)) return rule;

        if (op == POW) return _power(operator, x[0], attributes[0]);
        if (op == LEAKY_RELU) return _leakyRelu(x[0], attributes[0]);
        if (op == GELU) return _gelu(operator, x[0], attributes.length == 0 ? 0 : attributes[0]);
        if (most == 0 && !ofTensors) return _unary(operator, x[0]);

        (uint32 a, uint32 b) = (x[0], ofTensors ? x[1] : attributes[0]);
        if (op == MUL_TENSOR || op == MUL_SCALAR) return _product(a, b, ofTensors ? 1 : 2);
        if (op == DIV_TENSOR || op == DIV_SCALAR) return _quotient(a, b, ofTensors ? 6 : 7);
        uint32 alpha = attributes.length == most ? attributes[most - 1] : ONE;
        if (op == RSUB_SCALAR) return _sum(b, a, alpha ^ SIGN, 1, 0);
        return _sum(a, b, op == SUB_TENSOR || op == SUB_SCALAR ? alpha ^ SIGN : alpha, 0, ofTensors ? 0 : 1);
    }

    function _attributeCounts(bytes4 op) private pure returns (uint256 least, uint256 most) {
        if (op == ADD_TENSOR || op == SUB_TENSOR || op == GELU) return (0, 1);
        if (op == ADD_SCALAR || op == SUB_SCALAR || op == RSUB_SCALAR) return (1, 2);
        if (op == MUL_SCALAR || op == DIV_SCALAR || op == POW || op == LEAKY_RELU) return (1, 1);
    }

    /// @dev a + alpha b. T = |a| + |alpha b| takes the place of |f| against overflow. To tau come u |alpha b| for
    /// alpha and as much for the product, unless alpha is 1 or -1; `looseA` u |a| and `looseB` u |alpha b| for numbers
    /// of the call; and 2^-20 of tau for second-order terms. A subnormal input shifts the sum by less than MIN, but a
    /// product with one by all of it.
    function _sum(uint32 a, uint32 b, uint32 alpha, uint256 looseA, uint256 looseB) private pure returns (Rule memory) {
        bool scaled = alpha & ~SIGN != ONE;
        Ball memory first = Balls.fromFloat32(a);
        Ball memory second = Balls.fromFloat32(b).mul(Balls.fromFloat32(alpha));
        Ball memory value = first.add(second);
        (first, second) = (first.upperBound(), second.upperBound());
        Ball memory loose = _times(first, looseA).add(_times(second, scaled ? looseB + 2 : looseB));
        loose = loose.mulPow2(UNIT_ROUNDOFF);
        uint256 minima = 3;
        if (_isSubnormal(a)) ++minima;
        if (scaled && (_isSubnormal(b) || _isSubnormal(alpha))) loose = loose.add(second);
        else if (_isSubnormal(b)) ++minima;
        Rule memory rule = _bounded(value, 1, minima, false);
        rule.tolerance = rule.tolerance.add(loose);
        rule.tolerance = rule.tolerance.add(rule.tolerance.mulPow2(-20));
        rule.largest = first.add(second);
        return rule;
    }

    function _product(uint32 a, uint32 b, uint256 relative) private pure returns (Rule memory) {
        Ball memory value = Balls.fromFloat32(a).mul(Balls.fromFloat32(b));
        return _bounded(value, relative, 1, _isSubnormal(a) || _isSubnormal(b));
    }

    /// @dev The reciprocal of a divisor above 2^126 is subnormal, that of one above 2^125 may be after rounding; and kernels
    /// may multiply by it.
    function _quotient(uint32 a, uint32 b, uint256 relative) private pure returns (Rule memory rule) {
        uint32 magnitude = b & ~SIGN;
        if (magnitude == 0 || _isSubnormal(b)) return rule;
        Ball memory value = Balls.fromFloat32(a).div(Balls.fromFloat32(b));
        return _bounded(value, relative, 2, _isSubnormal(a) || magnitude > TWO_POW_125);
    }

    function _unary(Operator operator, uint32 bits) private pure returns (Rule memory rule) {
        bytes4 op = Operator.unwrap(operator);
        Ball memory x = Balls.fromFloat32(bits);
        bool flushed = _isSubnormal(bits);
        bool negative = bits & SIGN != 0;
        uint32 magnitude = bits & ~SIGN;

        if (op == EXP) {
            // Above 2^10 every finite y is as far out of tolerance as there.
            if (!negative && bits > TWO_POW_10) x = Balls.exact(1, 10);
            return _bounded(Elementary.exp(x), 6, 2, flushed);
        }
        if (op == TANH) return _bounded(Elementary.tanh(x), 6, 2, flushed);
        if (op == ERF) {
            rule = _bounded(Elementary.erf(x), 6, 2, flushed);
            rule.tolerance = rule.tolerance.add(Balls.exact(16, UNIT_ROUNDOFF));
            return rule;
        }
        if (op == SIN || op == COS) {
            if (magnitude > TWO_POW_30) return rule;
            return _bounded(op == SIN ? Elementary.sin(x) : Elementary.cos(x), 6, 2, flushed);
        }
        if (op == SIGMOID) return _bounded(Elementary.sigmoid(x), 10, 2, flushed);
        if (op == SILU) {
            rule = _bounded(Elementary.silu(x), 12, 3, flushed);
            rule.tolerance = rule.tolerance.add(x.upperBound().mulPow2(SMALLEST_NORMAL));
            return rule;
        }
        if (op == RECIPROCAL) return _quotient(ONE, bits, 6);
        if (op == HARDSWISH) return _hardswish(bits, x);
        if (op == SQRT) {
            if (negative && magnitude != 0) return rule;
            return _bounded(x.sqrt(), 4, 2, flushed);
        }
        if (op != LOG && op != RSQRT) revert UnsupportedOperator(operator);
        // Zero is outside the domain, and a subnormal may be taken for it.
        if (negative || magnitude == 0 || flushed) return rule;
        if (op == LOG) return _bounded(Elementary.log(x), 4, 2, false);
        return _bounded(x.rsqrt(), 6, 2, false);
    }

    function _gelu(Operator operator, uint32 bits, uint32 form) private pure returns (Rule memory rule) {
        if (form != 0 && form != ONE) revert UnsupportedAttribute(operator, form);
        Ball memory x = Balls.fromFloat32(bits);
        rule = _bounded(form == 0 ? Elementary.gelu(x) : Elementary.geluTanh(x), 0, 2, _isSubnormal(bits));
        rule.tolerance = rule.tolerance.add(x.upperBound().mulPow2(4 + UNIT_ROUNDOFF));
    }

    function _power(Operator operator, uint32 bits, uint32 exponent) private pure returns (Rule memory) {
        if (exponent == HALF) return _unary(Operator.wrap(SQRT), bits);
        if (exponent == HALF | SIGN) return _unary(Operator.wrap(RSQRT), bits);
        if (exponent == ONE | SIGN) return _unary(Operator.wrap(RECIPROCAL), bits);
        Ball memory x = Balls.fromFloat32(bits);
        Ball memory value = x;
        for (uint256 n = 2; n <= 8; ++n) {
            value = value.mul(x);
            // The encoding of n: its leading bit makes the exponent.
            uint256 log = n < 4 ? 1 : n < 8 ? 2 : 3;
            if (exponent == ((126 + log) << 23) + (n << (23 - log))) {
                return _bounded(value, 2 * n, n, _isSubnormal(bits));
            }
        }
        revert UnsupportedAttribute(operator, exponent);
    }

    function _leakyRelu(uint32 bits, uint32 slope) private pure returns (Rule memory) {
        if (bits & SIGN != 0) return _product(bits, slope, 2);
        return _bounded(Balls.fromFloat32(bits), 0, 0, _isSubnormal(bits));
    }

    /// @dev x min(max(x + 3, 0), 6) / 6; the product is 6 |f|.
    function _hardswish(uint32 bits, Ball memory x) private pure returns (Rule memory rule) {
        Ball memory value = x;
        if (bits & ~SIGN < THREE) value = x.mul(x.add(Balls.exact(3, 0))).div(Balls.exact(6, 0));
        else if (bits & SIGN != 0) value = Balls.exact(0, 0);
        rule = _bounded(value, 8, 3, _isSubnormal(bits));
        rule.tolerance = rule.tolerance.add(x.upperBound().mulPow2(UNIT_ROUNDOFF));
        rule.largest = _times(value.upperBound(), 6);
    }

    /// @dev tau = relative u |f| + minima MIN, and |f| more where an input may be taken for zero.
    function _bounded(Ball memory value, uint256 relative, uint256 minima, bool flushed)
        private
        pure
        returns (Rule memory)
    {
        Ball memory largest = value.upperBound();
        Ball memory tolerance = _times(largest, relative).mulPow2(UNIT_ROUNDOFF);
        tolerance = tolerance.add(Balls.exact(int256(minima), SMALLEST_NORMAL));
        if (flushed) tolerance = tolerance.add(largest);
        return Rule(true, value, tolerance, largest);
    }

    function _times(Ball memory a, uint256 factor) private pure returns (Ball memory) {
        return a.mul(Balls.exact(int256(factor), 0));
    }

    function _areFinite(uint32[] memory words) private pure returns (bool) {
        for (uint256 i; i < words.length; ++i) {
            if (!Limits.isFinite(words[i])) return false;
        }
        return true;
    }

    function _isSubnormal(uint32 bits) private pure returns (bool) {
        return bits & INFINITY == 0 && bits & ~SIGN != 0;
    }
}
