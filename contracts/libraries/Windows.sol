// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";

/// @title What an element of a convolution or of a pooling reads: contiguous runs of its input and of its kernel.
/// @notice Lanes are three nested levels (l_0, l_1, l_2), level 2 within a run. A level is plain, with coordinate l, or
/// lies along an axis of the output, with coordinate o * stride + l * dilation - padding; a lane with a coordinate
/// outside [0, extent) is zero padding and left out (docs/protocol.md, section 2).
/// @dev Coordinates grow with l, so what remains of a level is an interval of lanes, and what remains of all three is a
/// box: `outer` times `inner` runs of equal length.
library Windows {
    using OperandProof for NodeRecord.Operand;

    /// @param outer Lanes of level 0 that remain.
    /// @param inner Lanes of level 1 that remain.
    /// @param length Lanes of level 2 that remain: elements of each run.
    /// @param a Position of the first run in operand a.
    /// @param aOuter Distance in a from a lane of level 0 to the next.
    /// @param aInner Distance in a from a lane of level 1 to the next.
    /// @param b Position of the first run in operand b, and so on; 0 without one.
    struct Runs {
        uint256 outer;
        uint256 inner;
        uint256 length;
        uint256 a;
        uint256 aOuter;
        uint256 aInner;
        uint256 b;
        uint256 bOuter;
        uint256 bInner;
    }

    /// @param begin First lane that remains.
    /// @param count Lanes that remain.
    /// @param coordinate Coordinate of the first one; 0 without one.
    /// @param step What a coordinate differs by from the next lane's.
    struct Interval {
        uint256 begin;
        uint256 count;
        uint256 coordinate;
        uint256 step;
    }

    uint256 private constant COUNT = 20;

    // Positions among the attributes.
    uint256 private constant PER_GROUP = 0;
    uint256 private constant GROUP_STRIDE = 1;
    uint256 private constant LEVELS = 2; // size, aStride and bStride of each of the three
    uint256 private constant ROLES = 11;
    uint256 private constant AXES = 12; // extent, stride, padding and dilation of Y, then of X

    uint256 private constant ALONG_Y = 1;
    uint256 private constant ALONG_X = 2;

    error WrongAttributeCount(uint256 given, uint256 required);
    error UnsupportedRank(uint256 rank);
    error ZeroAttribute(uint256 index);
    error WrongReduction(uint256 given, uint256 required);
    error WrongRoles(uint256 roles);
    error WrongRunStride(uint256 operand, uint256 given, uint256 required);
    error DilatedRun(uint256 dilation);

    /// @notice The runs that an output element reads; operand 0 is a and operand 1, if there is one, is b.
    /// @param element Row-major index of the output element.
    function locate(NodeRecord.Node memory node, uint256 element) internal pure returns (Runs memory runs) {
        return locate(node, element, 0);
    }

    /// @notice As above, where `more` attributes of the operator stand behind those of the window.
    function locate(NodeRecord.Node memory node, uint256 element, uint256 more)
        internal
        pure
        returns (Runs memory runs)
    {
        _check(node, COUNT + more);
        uint32[] memory words = node.attributes;
        runs.a = node.operands[0].firstElement(node.outputs[0], element);
        if (node.operands.length > 1) runs.b = node.operands[1].firstElement(node.outputs[0], element);

        uint256[3] memory coordinates = _coordinates(node.outputs[0].shape, element);
        runs.a += coordinates[0] / words[PER_GROUP] * words[GROUP_STRIDE];
        // No sum of such products comes near 2^256: each factor is below 2^65.
        for (uint256 level; level < 3; ++level) {
            Interval memory lanes = _clip(words, level, coordinates);
            uint256 aStride = words[LEVELS + 3 * level + 1];
            uint256 bStride = words[LEVELS + 3 * level + 2];
            runs.a += lanes.coordinate * aStride;
            runs.b += lanes.begin * bStride;
            if (level == 0) {
                (runs.outer, runs.aOuter, runs.bOuter) = (lanes.count, lanes.step * aStride, bStride);
            } else if (level == 1) {
                (runs.inner, runs.aInner, runs.bInner) = (lanes.count, lanes.step * aStride, bStride);
            } else {
                runs.length = lanes.count;
            }
        }
    }

    /// @notice Number of runs that are not empty.
    function count(Runs memory runs) internal pure returns (uint256) {
        return runs.length == 0 ? 0 : runs.outer * runs.inner;
    }

    /// @notice Where a run begins in a and in b.
    /// @param index Number of the run, below their count.
    function at(Runs memory runs, uint256 index) internal pure returns (uint256 a, uint256 b) {
        (uint256 outer, uint256 inner) = (index / runs.inner, index % runs.inner);
        a = runs.a + outer * runs.aOuter + inner * runs.aInner;
        b = runs.b + outer * runs.bOuter + inner * runs.bInner;
    }

    /// @notice Number of lanes inside the input and its padding, which is as wide behind the input as before it.
    /// @dev The node's attributes must be those of a window, as `locate` checks.
    function padded(NodeRecord.Node memory node, uint256 element) internal pure returns (uint256 lanes) {
        uint32[] memory words = node.attributes;
        uint256[3] memory coordinates = _coordinates(node.outputs[0].shape, element);
        lanes = 1;
        for (uint256 level; level < 3; ++level) {
            uint256 size = words[LEVELS + 3 * level];
            uint256 role = _role(words[ROLES], level);
            if (role != 0) {
                uint256 axis = _axis(role);
                uint256 limit = uint256(words[axis]) + 2 * uint256(words[axis + 2]);
                size = _lanesBelow(limit, coordinates[role] * words[axis + 1], words[axis + 3], size);
            }
            lanes *= size;
        }
    }

    function _check(NodeRecord.Node memory node, uint256 wanted) private pure {
        uint32[] memory words = node.attributes;
        if (words.length != wanted) revert WrongAttributeCount(words.length, wanted);
        uint256 rank = node.outputs[0].shape.length;
        if (rank != 3 && rank != 4) revert UnsupportedRank(rank);
        _requirePositive(words, PER_GROUP);

        uint256 roles = words[ROLES];
        uint256 reduction = 1;
        uint256 axes;
        for (uint256 level; level < 3; ++level) {
            _requirePositive(words, LEVELS + 3 * level);
            reduction *= words[LEVELS + 3 * level];
            uint256 role = _role(roles, level);
            if (role == 0) continue;
            // INVARIANT: an axis has one level at most, and an output [N, O, X] has no axis Y.
            if (role > ALONG_X || axes & role != 0 || (role == ALONG_Y && rank == 3)) revert WrongRoles(roles);
            axes |= role;
            uint256 axis = _axis(role);
            _requirePositive(words, axis); // extent
            _requirePositive(words, axis + 1); // stride
            _requirePositive(words, axis + 3); // dilation
        }
        // INVARIANT: the word says nothing of a fourth level.
        if (roles >> 6 != 0) revert WrongRoles(roles);
        // INVARIANT: the bound counts every lane.
        if (node.reduction != reduction) revert WrongReduction(node.reduction, reduction);

        // INVARIANT: the lanes of a run are neighbours, in both operands.
        uint256 stride = words[LEVELS + 7];
        if (stride != 1) revert WrongRunStride(0, stride, 1);
        stride = words[LEVELS + 8];
        if (node.operands.length > 1 && stride != 1) revert WrongRunStride(1, stride, 1);
        uint256 runRole = _role(roles, 2);
        uint256 dilation = runRole == 0 ? 1 : words[_axis(runRole) + 3];
        if (dilation != 1) revert DilatedRun(dilation);
    }

    /// @dev The lanes of a level that remain for an output element.
    /// @param coordinates The element's coordinates o_1, o_Y and o_X.
    function _clip(uint32[] memory words, uint256 level, uint256[3] memory coordinates)
        private
        pure
        returns (Interval memory lanes)
    {
        uint256 size = words[LEVELS + 3 * level];
        uint256 role = _role(words[ROLES], level);
        if (role == 0) return Interval({ begin: 0, count: size, coordinate: 0, step: 1 });
        uint256 axis = _axis(role);
        // Coordinates counted from the padding's first: lane l has origin + l * step.
        uint256 origin = coordinates[role] * words[axis + 1];
        uint256 padding = words[axis + 2];
        lanes.step = words[axis + 3];
        lanes.begin = _lanesBelow(padding, origin, lanes.step, size);
        lanes.count = _lanesBelow(padding + words[axis], origin, lanes.step, size) - lanes.begin;
        if (lanes.count != 0) lanes.coordinate = origin + lanes.begin * lanes.step - padding;
    }

    /// @dev Number of lanes l < size with origin + l * step < limit.
    function _lanesBelow(uint256 limit, uint256 origin, uint256 step, uint256 size) private pure returns (uint256) {
        if (limit <= origin) return 0;
        uint256 lanes = (limit - origin + step - 1) / step;
        return lanes < size ? lanes : size;
    }

    /// @dev Coordinates o_1, o_Y (0 without one) and o_X of an element that exists: by role, but for the first.
    function _coordinates(uint32[] memory shape, uint256 element) private pure returns (uint256[3] memory list) {
        uint256 dimension = shape.length - 1;
        list[ALONG_X] = element % shape[dimension];
        element /= shape[dimension];
        if (dimension == 3) {
            list[ALONG_Y] = element % shape[2];
            element /= shape[2];
        }
        list[0] = element % shape[1];
    }

    function _role(uint256 roles, uint256 level) private pure returns (uint256) {
        return (roles >> (2 * level)) & 3;
    }

    /// @dev Position of the words of the axis that a role names.
    function _axis(uint256 role) private pure returns (uint256) {
        return AXES + 4 * (role - 1);
    }

    function _requirePositive(uint32[] memory words, uint256 index) private pure {
        if (words[index] == 0) revert ZeroAttribute(index);
    }
}
