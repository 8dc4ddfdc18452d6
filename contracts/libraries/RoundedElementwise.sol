// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Operator } from "../types/Types.sol";
import { Ball, Balls } from "./Ball.sol";
import { Elementary } from "./Elementary.sol";
import { Limits } from "./Limits.sol";
import { Number, Single } from "./Single.sol";
import { Zone, Zones } from "./Zone.sol";

/// @title What elementwise operators compute in float64 before their result is rounded to FP32.
/// @notice With u = 2^-53:
///
///     operator                                          result
///     add, sub, rsub, mul, div, sqrt, reciprocal        correctly rounded, f
///     div by a number of the call                       within 4 u |f|
///     exp, tanh, erf, sin, cos                          within 6 u |f| of f
///     log                                               within 4 u |f|
///     sigmoid                                           within 10 u |f|
///
/// A root of an FP32 number is at least 2^-51 of it away from where FP32 rounding changes, so that three units in the
/// 53rd digit make no difference. Kernels may multiply by the rounded reciprocal of a number of the call.
///
/// A number of the ATen call comes as two attributes, the high and the low word of its binary64 encoding: kernels get it
/// as it is. A sum or difference may have one more, alpha as an FP32 word, which is 1. The last attribute of an
/// elementary function is the node's number.
///
/// Results that are infinite or NaN are those of IEEE 754. Of sin and cos of finite numbers beyond 2^30 no more is known
/// than that they are from -1 to 1, and nothing for a number of the call that is neither zero nor of a magnitude from
/// 2^-500 to 2^500. For all others finite float64 results are normal numbers or zero, except for exp and sigmoid below
/// 2^-1022 and exp above 2^1024, which round to the same FP32 number as their exact values do.
library RoundedElementwise {
    /// @notice What is known of a result: nothing, that it is the number of a zone, or that it is NaN.
    enum Result {
        Unknown,
        Number,
        NaN
    }

    bytes4 private constant ADD_TENSOR = bytes4(keccak256("rounded.aten.add.Tensor"));
    bytes4 private constant ADD_SCALAR = bytes4(keccak256("rounded.aten.add.Scalar"));
    bytes4 private constant SUB_TENSOR = bytes4(keccak256("rounded.aten.sub.Tensor"));
    bytes4 private constant SUB_SCALAR = bytes4(keccak256("rounded.aten.sub.Scalar"));
    bytes4 private constant RSUB_SCALAR = bytes4(keccak256("rounded.aten.rsub.Scalar"));
    bytes4 private constant MUL_TENSOR = bytes4(keccak256("rounded.aten.mul.Tensor"));
    bytes4 private constant MUL_SCALAR = bytes4(keccak256("rounded.aten.mul.Scalar"));
    bytes4 private constant DIV_TENSOR = bytes4(keccak256("rounded.aten.div.Tensor"));
    bytes4 private constant DIV_SCALAR = bytes4(keccak256("rounded.aten.div.Scalar"));
    bytes4 private constant RECIPROCAL = bytes4(keccak256("rounded.aten.reciprocal.default"));
    bytes4 private constant SQRT = bytes4(keccak256("rounded.aten.sqrt.default"));
    bytes4 private constant EXP = bytes4(keccak256("rounded.aten.exp.default"));
    bytes4 private constant LOG = bytes4(keccak256("rounded.aten.log.default"));
    bytes4 private constant TANH = bytes4(keccak256("rounded.aten.tanh.default"));
    bytes4 private constant ERF = bytes4(keccak256("rounded.aten.erf.default"));
    bytes4 private constant SIGMOID = bytes4(keccak256("rounded.aten.sigmoid.default"));
    bytes4 private constant SIN = bytes4(keccak256("rounded.aten.sin.default"));
    bytes4 private constant COS = bytes4(keccak256("rounded.aten.cos.default"));

    uint256 private constant RECIPROCAL_ROUNDOFFS = 4;

    uint32 private constant ONE = 0x3f800000;
    uint32 private constant SIGN = 0x80000000;
    uint32 private constant TWO_POW_10 = 0x44800000;
    uint32 private constant TWO_POW_30 = 0x4e800000;

    error UnsupportedOperator(Operator op);
    error UnsupportedAttribute(Operator op, uint32 bits);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @notice The operators that have a zone.
    function operators() internal pure returns (Operator[] memory list) {
        bytes4[18] memory names = [
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
            SQRT,
            EXP,
            LOG,
            TANH,
            ERF,
            SIGMOID,
            SIN,
            COS
        ];
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @notice The number of tensors that an operator computes with, and whether it is logged.
    function signature(Operator operator) internal pure returns (uint256 inputs, bool logged) {
        bytes4 op = Operator.unwrap(operator);
        if (_isOfTensors(op)) return (2, false);
        if (_isOfScalar(op) || op == RECIPROCAL || op == SQRT) return (1, false);
        if (_roundoffs(op) == 0) revert UnsupportedOperator(operator);
        return (1, true);
    }

    /// @notice What is known of an element, and its zone: an empty one where that is not a number.
    /// @param x The FP32 element of each input.
    function zone(Operator operator, uint32[] memory x, uint32[] memory attributes)
        internal
        pure
        returns (Result known, Zone memory result)
    {
        bytes4 op = Operator.unwrap(operator);
        if (_roundoffs(op) != 0) return _elementary(op, x[0], attributes);
        if (op == SQRT || op == RECIPROCAL) _requireCount(attributes, 0);
        else _requireAlpha(operator, attributes);

        uint64 number = _isOfScalar(op) ? (uint64(attributes[0]) << 32) | attributes[1] : 0;
        (bool decided, uint32 limit) = _limit(op, x[0], _isOfTensors(op) ? x[1] : _kindOf(number));
        Number memory b;
        if (_isOfScalar(op)) {
            bool inRange;
            (inRange, b) = Single.fromFloat64(number);
            if (!inRange) return (Result.Unknown, result);
        } else if (_isOfTensors(op) && !decided) {
            b = Single.fromFloat32(x[1]);
        }
        if (decided) return _limited(limit);

        Number memory a = Single.fromFloat32(x[0]);
        Number memory y;
        if (op == SQRT) y = a.sqrt();
        else if (op == RECIPROCAL) y = Single.fromFloat32(ONE).div(a);
        else if (op == DIV_TENSOR || op == DIV_SCALAR) y = a.div(b);
        else if (op == MUL_TENSOR || op == MUL_SCALAR) y = a.mul(b);
        else if (op == RSUB_SCALAR) y = b.add(a.neg());
        else y = a.add(op == SUB_TENSOR || op == SUB_SCALAR ? b.neg() : b);
        if (op == DIV_SCALAR) return (Result.Number, Zones.ofBall(Balls.exact(y.mid, y.exp), RECIPROCAL_ROUNDOFFS));
        return (Result.Number, Zones.ofResult(y.mid, y.exp));
    }

    /// @notice Whether no recording has `y` there: one goes on from arithmetic that is not finite, and ends at a logged
    /// result that is not.
    function excludes(Result known, Zone memory result, bool logged, uint32 y) internal pure returns (bool) {
        if (logged && !Limits.isFinite(y)) return true;
        if (known == Result.NaN) return !Limits.isNan(y);
        return known == Result.Number && result.excludes(y);
    }

    /// @dev The result of arithmetic that is decided by the kinds of its inputs. A kernel that multiplies by the reciprocal
    /// of a number of the call gets the same one.
    function _limit(bytes4 op, uint32 a, uint32 b) private pure returns (bool decided, uint32 result) {
        if (op == SQRT) return Limits.root(a);
        if (op == RECIPROCAL) return Limits.quotient(ONE, a);
        if (op == DIV_TENSOR || op == DIV_SCALAR) return Limits.quotient(a, b);
        if (op == MUL_TENSOR || op == MUL_SCALAR) return Limits.product(a, b);
        if (op == RSUB_SCALAR) return Limits.sum(b, Limits.negated(a));
        return Limits.sum(a, op == SUB_TENSOR || op == SUB_SCALAR ? Limits.negated(b) : b);
    }

    /// @dev An FP32 number of the sign of a finite binary64 number that is zero iff that is.
    function _kindOf(uint64 number) private pure returns (uint32) {
        return uint32(number >> 63) << 31 | (number << 1 == 0 ? 0 : ONE);
    }

    function _limited(uint32 limit) private pure returns (Result known, Zone memory result) {
        if (Limits.isNan(limit)) return (Result.NaN, result);
        return (Result.Number, limit & ~SIGN == 0 ? Zones.ofResult(0, 0) : Zones.ofInfinity(limit & SIGN != 0));
    }

    function _elementary(bytes4 op, uint32 bits, uint32[] memory attributes)
        private
        pure
        returns (Result known, Zone memory result)
    {
        _requireCount(attributes, 1);
        uint32 magnitude = bits & ~SIGN;
        bool negative = bits & SIGN != 0;
        if (Limits.isNan(bits)) return (Result.NaN, result);
        bool isInfinite = magnitude == Limits.INFINITY;
        if (op == SIN || op == COS) {
            if (isInfinite) return (Result.NaN, result);
            if (magnitude > TWO_POW_30) {
                result.rad = 1; // around 0, and no one rounding
                return (Result.Number, result);
            }
        }
        // -infinity is no logarithm either that a recording goes on with.
        if (op == LOG && (negative || magnitude == 0)) return (Result.NaN, result);
        // Every function is monotone from 2^10 on and, the logarithm aside, rounds there to its limit.
        if (isInfinite && op == LOG) return (Result.Number, Zones.ofInfinity(false));
        Ball memory x = Balls.fromFloat32(isInfinite ? (bits & SIGN) | TWO_POW_10 : bits);
        Ball memory f;
        // Above 2^10 every result is infinite, as there.
        if (op == EXP) f = Elementary.exp(!negative && bits > TWO_POW_10 ? Balls.exact(1, 10) : x);
        else if (op == LOG) f = Elementary.log(x);
        else if (op == TANH) f = Elementary.tanh(x);
        else if (op == ERF) f = Elementary.erf(x);
        else if (op == SIGMOID) f = Elementary.sigmoid(x);
        else f = op == SIN ? Elementary.sin(x) : Elementary.cos(x);
        return (Result.Number, Zones.ofBall(f, _roundoffs(op)));
    }

    /// @dev The coefficient of u |f|; 0 for operators that are correctly rounded.
    function _roundoffs(bytes4 op) private pure returns (uint256) {
        if (op == EXP || op == TANH || op == ERF || op == SIN || op == COS) return 6;
        if (op == LOG) return 4;
        return op == SIGMOID ? 10 : 0;
    }

    function _isOfTensors(bytes4 op) private pure returns (bool) {
        return op == ADD_TENSOR || op == SUB_TENSOR || op == MUL_TENSOR || op == DIV_TENSOR;
    }

    function _isOfScalar(bytes4 op) private pure returns (bool) {
        return op == ADD_SCALAR || op == SUB_SCALAR || op == RSUB_SCALAR || op == MUL_SCALAR || op == DIV_SCALAR;
    }

    /// @dev Of arithmetic with two numbers: the second one's words, and for sums and differences perhaps an alpha of 1.
    function _requireAlpha(Operator operator, uint32[] memory attributes) private pure {
        bytes4 op = Operator.unwrap(operator);
        uint256 words = _isOfTensors(op) ? 0 : 2;
        bool scales = op != MUL_TENSOR && op != MUL_SCALAR && op != DIV_TENSOR && op != DIV_SCALAR;
        if (!scales || attributes.length != words + 1) return _requireCount(attributes, words);
        // INVARIANT: there is no product, whose rounding would be a second one.
        if (attributes[words] != ONE) revert UnsupportedAttribute(operator, attributes[words]);
    }

    function _requireCount(uint32[] memory attributes, uint256 required) private pure {
        // INVARIANT: no number of the call goes unread.
        if (attributes.length != required) revert WrongAttributeCount(attributes.length, required);
    }
}
