// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Operator } from "../types/Types.sol";
import { Cast } from "./Cast.sol";
import { DType } from "./DType.sol";
import { Element, Elements } from "./Element.sol";

/// @title Whether a claimed element of a pointwise operator with an exact result is wrong.
/// @notice It is refuted iff it is neither the operator's result nor its result with subnormal numbers of float32,
/// bfloat16 and float64 taken for zero, as kernels may take them before and after; +0 equals -0 and NaN equals NaN.
///
///     operators                    operands                        attributes
///     relu, neg, abs               x, not bool
///     clamp and its relatives      x (float32)                     lower, upper
///     maximum, minimum             x, y
///     where.self                   condition (bool), x, y
///     where.ScalarOther            condition (bool), x (float32)   y
///     where.ScalarSelf             condition (bool), y (float32)   x
///     masked_fill.Scalar           x (float32), mask (bool)        number where the mask is true
///     eq, ne, lt, le, gt, ge       x, y                            y where it is a number
///     and, or, xor, not            x, y (bool)
///     _to_copy: see Cast           x
///
/// An attribute is the FP32 encoding of a number; a NaN is no bound of clamp. Beside an integer x it is an int32, and
/// if x's type does not hold it, nothing is refuted. Nothing is refuted either where a bool operand is neither 0 nor 1.
library ExactRule {
    enum Rule {
        RELU,
        NEG,
        ABS,
        CLAMP,
        MAXIMUM,
        MINIMUM,
        WHERE,
        EQ,
        NE,
        LT,
        LE,
        GT,
        GE,
        AND,
        OR,
        XOR,
        NOT,
        CAST
    }

    bytes4 private constant RELU = bytes4(keccak256("aten.relu.default"));
    bytes4 private constant NEG = bytes4(keccak256("aten.neg.default"));
    bytes4 private constant ABS = bytes4(keccak256("aten.abs.default"));
    bytes4 private constant CLAMP = bytes4(keccak256("aten.clamp.default"));
    bytes4 private constant CLAMP_MIN = bytes4(keccak256("aten.clamp_min.default"));
    bytes4 private constant CLAMP_MAX = bytes4(keccak256("aten.clamp_max.default"));
    bytes4 private constant HARDTANH = bytes4(keccak256("aten.hardtanh.default"));
    bytes4 private constant RELU6 = bytes4(keccak256("aten.relu6.default"));
    bytes4 private constant MAXIMUM = bytes4(keccak256("aten.maximum.default"));
    bytes4 private constant MINIMUM = bytes4(keccak256("aten.minimum.default"));
    bytes4 private constant MAX_OTHER = bytes4(keccak256("aten.max.other"));
    bytes4 private constant MIN_OTHER = bytes4(keccak256("aten.min.other"));
    bytes4 private constant WHERE_SELF = bytes4(keccak256("aten.where.self"));
    bytes4 private constant WHERE_SCALAR_OTHER = bytes4(keccak256("aten.where.ScalarOther"));
    bytes4 private constant WHERE_SCALAR_SELF = bytes4(keccak256("aten.where.ScalarSelf"));
    bytes4 private constant MASKED_FILL = bytes4(keccak256("aten.masked_fill.Scalar"));
    bytes4 private constant EQ_TENSOR = bytes4(keccak256("aten.eq.Tensor"));
    bytes4 private constant NE_TENSOR = bytes4(keccak256("aten.ne.Tensor"));
    bytes4 private constant LT_TENSOR = bytes4(keccak256("aten.lt.Tensor"));
    bytes4 private constant LE_TENSOR = bytes4(keccak256("aten.le.Tensor"));
    bytes4 private constant GT_TENSOR = bytes4(keccak256("aten.gt.Tensor"));
    bytes4 private constant GE_TENSOR = bytes4(keccak256("aten.ge.Tensor"));
    bytes4 private constant EQ_SCALAR = bytes4(keccak256("aten.eq.Scalar"));
    bytes4 private constant NE_SCALAR = bytes4(keccak256("aten.ne.Scalar"));
    bytes4 private constant LT_SCALAR = bytes4(keccak256("aten.lt.Scalar"));
    bytes4 private constant LE_SCALAR = bytes4(keccak256("aten.le.Scalar"));
    bytes4 private constant GT_SCALAR = bytes4(keccak256("aten.gt.Scalar"));
    bytes4 private constant GE_SCALAR = bytes4(keccak256("aten.ge.Scalar"));
    bytes4 private constant LOGICAL_AND = bytes4(keccak256("aten.logical_and.default"));
    bytes4 private constant LOGICAL_OR = bytes4(keccak256("aten.logical_or.default"));
    bytes4 private constant LOGICAL_XOR = bytes4(keccak256("aten.logical_xor.default"));
    bytes4 private constant BITWISE_AND = bytes4(keccak256("aten.bitwise_and.Tensor"));
    bytes4 private constant BITWISE_OR = bytes4(keccak256("aten.bitwise_or.Tensor"));
    bytes4 private constant BITWISE_XOR = bytes4(keccak256("aten.bitwise_xor.Tensor"));
    bytes4 private constant DUNDER_AND = bytes4(keccak256("aten.__and__.Tensor"));
    bytes4 private constant DUNDER_OR = bytes4(keccak256("aten.__or__.Tensor"));
    bytes4 private constant DUNDER_XOR = bytes4(keccak256("aten.__xor__.Tensor"));
    bytes4 private constant LOGICAL_NOT = bytes4(keccak256("aten.logical_not.default"));
    bytes4 private constant BITWISE_NOT = bytes4(keccak256("aten.bitwise_not.default"));
    bytes4 private constant TO_COPY = bytes4(keccak256("aten._to_copy.default"));

    error UnsupportedOperator(Operator op);
    error TypeMismatch(uint8 given, uint8 required);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @notice The operators that `refutes` decides.
    function operators() internal pure returns (Operator[] memory list) {
        (bytes4[40] memory names,) = _table();
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @notice Whether y is not the operator's result.
    /// @param x The element of each operand, in the record's order.
    /// @param attributes The record's attributes.
    /// @param y The claimed element.
    function refutes(Operator op, Element[] memory x, uint32[] memory attributes, Element memory y)
        internal
        pure
        returns (bool)
    {
        Rule rule = _ruleOf(op);
        (bool defined, Element[] memory arguments) = _arguments(op, rule, x, attributes);
        _checkTypes(rule, arguments, y.dtype);
        for (uint256 i; i < x.length; ++i) {
            // INVARIANT: nothing follows from an operand that is no value of its type.
            if (!x[i].isValid()) return false;
        }
        if (!defined) return false;

        Element memory expected;
        (defined, expected) = _apply(rule, arguments, y.dtype);
        if (!defined || expected.equals(y)) return false;
        for (uint256 i; i < arguments.length; ++i) {
            arguments[i] = arguments[i].flushed();
        }
        (defined, expected) = _apply(rule, arguments, y.dtype);
        return defined && !expected.flushed().equals(y.flushed());
    }

    /// @dev The arguments in the rule's own order: x; x, lower, upper; x, y; condition, x, y.
    function _arguments(Operator operator, Rule rule, Element[] memory x, uint32[] memory attributes)
        private
        pure
        returns (bool defined, Element[] memory arguments)
    {
        bytes4 op = Operator.unwrap(operator);
        uint256 numbers;
        if (rule == Rule.CLAMP) numbers = 2;
        if (op == WHERE_SCALAR_OTHER || op == WHERE_SCALAR_SELF || op == MASKED_FILL || _comparesNumber(op)) {
            numbers = 1;
        }
        arguments = new Element[](_argumentCount(rule));
        uint256 operands = arguments.length - numbers;
        if (x.length != operands) revert WrongOperandCount(x.length, operands);
        if (attributes.length != numbers) revert WrongAttributeCount(attributes.length, numbers);

        defined = true;
        for (uint256 i; i < operands; ++i) {
            arguments[i] = x[i];
        }
        for (uint256 i; i < numbers; ++i) {
            arguments[operands + i] = Element(DType.FLOAT32, attributes[i]);
        }
        if (_comparesNumber(op)) (defined, arguments[1]) = _numberBeside(x[0].dtype, attributes[0]);
        if (op == WHERE_SCALAR_SELF) (arguments[1], arguments[2]) = (arguments[2], arguments[1]);
        if (op == MASKED_FILL) {
            (arguments[0], arguments[1], arguments[2]) = (arguments[1], arguments[2], arguments[0]);
        }
    }

    /// @dev The number that an element of type `dtype` is compared with.
    function _numberBeside(uint8 dtype, uint32 word) private pure returns (bool defined, Element memory number) {
        if (dtype == DType.FLOAT32) return (true, Element(dtype, word));
        if (dtype == DType.BOOL || DType.isFloat(dtype)) revert DType.UnsupportedType(dtype);
        Element memory integer = Element(DType.INT32, word);
        (, number) = Cast.convert(integer, dtype);
        defined = number.order() == integer.order();
    }

    function _checkTypes(Rule rule, Element[] memory arguments, uint8 output) private pure {
        if (rule == Rule.CAST) return;
        uint8 first = arguments[0].dtype;
        if (rule <= Rule.ABS && first == DType.BOOL) revert DType.UnsupportedType(first);
        // INVARIANT: conditions and the operands of logic are bool.
        if (rule >= Rule.AND || rule == Rule.WHERE) _requireType(first, DType.BOOL);
        // INVARIANT: the other arguments are of the type of the result, or of the first where that is bool.
        bool isTruth = rule >= Rule.EQ;
        uint8 required = isTruth ? first : output;
        if (isTruth) _requireType(output, DType.BOOL);
        for (uint256 i = rule == Rule.WHERE ? 1 : 0; i < arguments.length; ++i) {
            _requireType(arguments[i].dtype, required);
        }
    }

    function _requireType(uint8 given, uint8 required) private pure {
        if (given != required) revert TypeMismatch(given, required);
    }

    /// @dev The result of type `output`, if kernels agree on it.
    function _apply(Rule rule, Element[] memory x, uint8 output)
        private
        pure
        returns (bool defined, Element memory result)
    {
        if (rule == Rule.CAST) return Cast.convert(x[0], output);
        if (rule >= Rule.EQ) return (true, Element(DType.BOOL, _holds(rule, x) ? 1 : 0));
        if (rule == Rule.WHERE) return (true, x[0].bits == 1 ? x[1] : x[2]);
        if (rule == Rule.MAXIMUM || rule == Rule.MINIMUM) {
            if (x[0].isNaN() || x[1].isNaN()) return (true, x[0].isNaN() ? x[0] : x[1]);
            return (true, rule == Rule.MAXIMUM ? _larger(x[0], x[1]) : _smaller(x[0], x[1]));
        }
        result = x[0];
        if (result.isNaN()) return (true, result);
        if (rule == Rule.CLAMP) {
            // Where the bounds are the wrong way round, the upper one stands.
            if (!x[1].isNaN()) result = _larger(result, x[1]);
            if (!x[2].isNaN()) result = _smaller(result, x[2]);
        } else if (rule == Rule.RELU) {
            result = result.isNegative() ? Element(output, 0) : result;
        } else if (rule == Rule.NEG || result.isNegative()) {
            result = _negated(result);
        }
        return (true, result);
    }

    function _larger(Element memory x, Element memory y) private pure returns (Element memory) {
        return x.order() > y.order() ? x : y;
    }

    function _smaller(Element memory x, Element memory y) private pure returns (Element memory) {
        return x.order() < y.order() ? x : y;
    }

    /// @dev Integers wrap: the smallest is its own negative.
    function _negated(Element memory x) private pure returns (Element memory) {
        uint256 sign = Elements.signBit(x.dtype);
        if (DType.isFloat(x.dtype)) return Element(x.dtype, x.bits ^ sign);
        return Element(x.dtype, ((sign << 1) - x.bits) % (sign << 1));
    }

    /// @dev Comparisons and logic.
    function _holds(Rule rule, Element[] memory x) private pure returns (bool) {
        if (rule == Rule.NOT) return x[0].bits == 0;
        if (x[0].isNaN() || x[1].isNaN()) return rule == Rule.NE;
        (int256 a, int256 b) = (x[0].order(), x[1].order());
        if (rule == Rule.EQ) return a == b;
        if (rule == Rule.NE || rule == Rule.XOR) return a != b;
        if (rule == Rule.LT) return a < b;
        if (rule == Rule.LE) return a <= b;
        if (rule == Rule.GT) return a > b;
        if (rule == Rule.GE) return a >= b;
        return rule == Rule.AND ? a + b == 2 : a + b != 0;
    }

    function _argumentCount(Rule rule) private pure returns (uint256) {
        if (rule == Rule.CLAMP || rule == Rule.WHERE) return 3;
        return rule <= Rule.ABS || rule >= Rule.NOT ? 1 : 2;
    }

    function _comparesNumber(bytes4 op) private pure returns (bool) {
        return
            op == EQ_SCALAR || op == NE_SCALAR || op == LT_SCALAR || op == LE_SCALAR || op == GT_SCALAR
                || op == GE_SCALAR;
    }

    function _ruleOf(Operator op) private pure returns (Rule) {
        (bytes4[40] memory names, Rule[40] memory rules) = _table();
        for (uint256 i; i < names.length; ++i) {
            if (names[i] == Operator.unwrap(op)) return rules[i];
        }
        revert UnsupportedOperator(op);
    }

    /// @dev The operators, and the rule of each.
    function _table() private pure returns (bytes4[40] memory names, Rule[40] memory rules) {
        names = [
            RELU,
            NEG,
            ABS,
            CLAMP,
            CLAMP_MIN,
            CLAMP_MAX,
            HARDTANH,
            RELU6,
            MAXIMUM,
            MINIMUM,
            MAX_OTHER,
            MIN_OTHER,
            WHERE_SELF,
            WHERE_SCALAR_OTHER,
            WHERE_SCALAR_SELF,
            MASKED_FILL,
            EQ_TENSOR,
            NE_TENSOR,
            LT_TENSOR,
            LE_TENSOR,
            GT_TENSOR,
            GE_TENSOR,
            EQ_SCALAR,
            NE_SCALAR,
            LT_SCALAR,
            LE_SCALAR,
            GT_SCALAR,
            GE_SCALAR,
            LOGICAL_AND,
            LOGICAL_OR,
            LOGICAL_XOR,
            BITWISE_AND,
            BITWISE_OR,
            BITWISE_XOR,
            DUNDER_AND,
            DUNDER_OR,
            DUNDER_XOR,
            LOGICAL_NOT,
            BITWISE_NOT,
            TO_COPY
        ];
        rules = [
            Rule.RELU,
            Rule.NEG,
            Rule.ABS,
            Rule.CLAMP,
            Rule.CLAMP,
            Rule.CLAMP,
            Rule.CLAMP,
            Rule.CLAMP,
            Rule.MAXIMUM,
            Rule.MINIMUM,
            Rule.MAXIMUM,
            Rule.MINIMUM,
            Rule.WHERE,
            Rule.WHERE,
            Rule.WHERE,
            Rule.WHERE,
            Rule.EQ,
            Rule.NE,
            Rule.LT,
            Rule.LE,
            Rule.GT,
            Rule.GE,
            Rule.EQ,
            Rule.NE,
            Rule.LT,
            Rule.LE,
            Rule.GT,
            Rule.GE,
            Rule.AND,
            Rule.OR,
            Rule.XOR,
            Rule.AND,
            Rule.OR,
            Rule.XOR,
            Rule.AND,
            Rule.OR,
            Rule.XOR,
            Rule.NOT,
            Rule.NOT,
            Rule.CAST
        ];
    }
}
