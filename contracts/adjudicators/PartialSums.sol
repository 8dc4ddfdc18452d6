// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { IPartialSums } from "../interfaces/IPartialSums.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { Tags } from "../libraries/Tags.sol";
import { TensorProof } from "../libraries/TensorProof.sol";

/// @title The records of an adjudicator's sums, and proofs that refer to them.
/// @dev Documented in IPartialSums. A recorded proof is abi.encode(Tags.RECORDED, RecordedProof).
abstract contract PartialSums is IAdjudicator, IPartialSums {
    using NodeRecord for NodeRecord.TensorType;
    using TensorProof for NodeRecord.TensorType;
    using SafeCast for uint256;

    /// @param lanes Lanes of each piece, in order, and run by run where the operator reads several runs.
    /// @param tensors The tensors of the rows, by operand.
    /// @param points Openings of single elements of a row that the operator looks at besides its sums.
    /// @param proof The operator's own proof, with an empty opening, or none, where a row would be opened.
    struct RecordedProof {
        uint256[] lanes;
        Source[] tensors;
        OperandProof.OperandOpening[] points;
        bytes proof;
    }

    /// @param tensor Hash of a tensor's commitment and type; 0 for none.
    /// @param first Number of the next element to be summed.
    struct Row {
        bytes32 tensor;
        uint256 first;
    }

    /// @param next Number of the next piece in the proof's list.
    /// @param first As in Sums, added up, as are the others.
    /// @param givenKey Key of a range whose sums need no record; 0 for none.
    /// @param given Its sums.
    struct Total {
        uint256 next;
        uint256 first;
        uint256 second;
        uint256 third;
        bytes32 givenKey;
        uint256[3] given;
    }

    mapping(bytes32 key => Sums) private _sums;

    /// @inheritdoc IPartialSums
    function post(Piece[] calldata pieces) external {
        for (uint256 i; i < pieces.length; ++i) {
            _post(pieces[i]);
        }
    }

    /// @inheritdoc IPartialSums
    function sumsOf(bytes32 key) external view returns (Sums memory) {
        return _sums[key];
    }

    /// @inheritdoc IPartialSums
    function areKnown(bytes32[] calldata keys) external view returns (bool[] memory known) {
        known = new bool[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            known[i] = _sums[keys[i]].isKnown;
        }
    }

    /// @inheritdoc IPartialSums
    function rangeOf(
        IAdjudicator.Leaf calldata leaf,
        Source[] calldata tensors,
        uint256[] calldata firsts,
        uint256 lanes,
        uint256 hint
    ) external pure returns (Range memory) {
        uint256 count = _runCount();
        if (tensors.length != count) revert WrongTensorCount(tensors.length, count);
        if (firsts.length != count) revert WrongRunCount(firsts.length, count);
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        if (node.operands.length < count) revert WrongTensorCount(node.operands.length, count);
        Row[2] memory rows;
        for (uint256 i; i < count; ++i) {
            NodeRecord.TensorType memory tensorType = node.operands[i].tensorType;
            _requireRun(tensorType, firsts[i], lanes);
            rows[i] = _row(leaf, node, tensors, i, firsts[i]);
        }
        return _range(hint, lanes, rows[0], rows[1]);
    }

    /// @inheritdoc IPartialSums
    function totalOf(Range calldata range, uint256[] calldata lanes) external view returns (uint256[3] memory) {
        Total memory total;
        Row memory a = Row(range.tensor, range.first);
        Row memory b = Row(range.otherTensor, range.otherFirst);
        _addRecords(total, lanes, range.hint, a, b, range.lanes);
        // INVARIANT: no piece is left over.
        if (total.next != lanes.length) revert PieceBeyondRun(lanes[total.next], 0);
        return [total.first, total.second, total.third];
    }

    /// @inheritdoc IAdjudicator
    function refutes(IAdjudicator.Leaf calldata leaf, bytes calldata proof) external view returns (bool) {
        Total memory nothing;
        return _refutes(leaf, proof, nothing);
    }

    /// @inheritdoc IPartialSums
    function refutesGiven(IAdjudicator.Leaf calldata leaf, bytes calldata proof, bytes32 key, uint256[3] calldata sums)
        external
        view
        returns (bool)
    {
        Total memory total;
        total.givenKey = key;
        total.given = sums;
        return _refutes(leaf, proof, total);
    }

    /// @dev The verdict on a proof. The records that it names are added to `total`, which is empty but for what is given.
    function _refutes(IAdjudicator.Leaf calldata leaf, bytes calldata proof, Total memory total)
        internal
        view
        virtual
        returns (bool);

    /// @dev Number of runs that the operators' lanes lie in: 1, or 2 where numbers of two rows are multiplied.
    function _runCount() internal pure virtual returns (uint256);

    /// @dev The sums over a piece, as IPartialSums lists them; reverts for lanes and hints that have none.
    /// @param runs Calldata position of each run's first element.
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 hint)
        internal
        pure
        virtual
        returns (uint256 first, uint256 second, uint256 third);

    /// @dev Whether a proof refers to records.
    function _isRecorded(bytes calldata encoded) internal pure returns (bool) {
        return encoded.length >= 32 && bytes32(encoded) == Tags.RECORDED;
    }

    /// @dev The proof in place.
    function _decodeRecorded(bytes calldata encoded) internal pure returns (RecordedProof calldata recorded) {
        // INVARIANT: the encoding is that of the tag and one dynamic struct; its members are checked where they are read.
        if (encoded.length < 0xc0 || bytes32(encoded[0x20:]) != bytes32(uint256(0x40))) {
            revert MalformedRecordedProof();
        }
        assembly ("memory-safe") {
            recorded := add(encoded.offset, 0x40)
        }
        uint256 count = _runCount();
        if (recorded.tensors.length != count) revert WrongTensorCount(recorded.tensors.length, count);
    }

    /// @dev The row of an operand that begins at its element `first`.
    function _row(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Source[] calldata tensors,
        uint256 index,
        uint256 first
    ) internal pure returns (Row memory) {
        NodeRecord.Operand memory operand = node.operands[index];
        Source calldata source = tensors[index];
        OperandProof.requireOperand(leaf, operand, source.commitment, source.weightsPath);
        return Row(_tensor(source.commitment, operand.tensorType.pack()), first);
    }

    /// @dev Adds the records of the next `length` lanes of one row, or of the products of two; moves the rows.
    /// @param b An empty row where there is one only.
    function _addRecords(
        Total memory total,
        uint256[] calldata lanes,
        uint256 hint,
        Row memory a,
        Row memory b,
        uint256 length
    ) internal view {
        while (length != 0) {
            if (total.next == lanes.length) revert PiecesMissing(length);
            uint256 count = lanes[total.next++];
            // INVARIANT: a piece begins where the last one ended, and the last one ends where the run does.
            if (count > length) revert PieceBeyondRun(count, length);
            bytes32 key = _key(hint, count, a, b);
            if (key == total.givenKey) {
                total.first += total.given[0];
                total.second += total.given[1];
                total.third += total.given[2];
            } else {
                Sums storage sums = _sums[key];
                if (!sums.isKnown) revert UnknownPiece(key);
                total.first += sums.first;
                total.second += sums.second;
                total.third += sums.third;
            }
            length -= count;
            a.first += count;
            if (b.tensor != 0) b.first += count;
        }
    }

    /// @dev The FP32 bits of one element of the first operand, by the proof's opening `index`.
    function _point(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        RecordedProof calldata recorded,
        uint256 index,
        uint256 position
    ) internal pure returns (uint32) {
        if (index >= recorded.points.length) {
            revert WrongPointCount(recorded.points.length, index + 1);
        }
        return OperandProof.openFloat32(leaf, node.operands[0], recorded.points[index], position);
    }

    function _post(Piece calldata piece) private {
        uint256 count = piece.runs.length;
        if (count != _runCount()) revert WrongRunCount(count, _runCount());
        Row[2] memory rows;
        uint256[2] memory runs;
        for (uint256 i; i < count; ++i) {
            (rows[i], runs[i]) = _open(piece.runs[i], piece.lanes);
        }
        bytes32 key = _key(piece.hint, piece.lanes, rows[0], rows[1]);
        if (_sums[key].isKnown) return;
        (uint256 first, uint256 second, uint256 third) = _sumsOver(runs, piece.lanes, piece.hint);
        _sums[key] = Sums(first.toUint128(), second.toUint128(), third.toUint248(), true);
        emit SumsRecorded(key, piece.lanes);
    }

    /// @dev A run of a tensor, whose commitment follows from the opening.
    /// @return row The tensor and the number of the run's first element.
    /// @return position Calldata position of that element.
    function _open(Run calldata run, uint256 lanes) private pure returns (Row memory row, uint256 position) {
        NodeRecord.TensorType memory tensorType = NodeRecord.unpack(run.tensorType);
        _requireFloat32Lanes(tensorType);
        bytes32 dataRoot;
        (dataRoot, position) = tensorType.openRun(run.data, run.path, run.first, lanes);
        bytes32 commitment = TensorProof.commitment(run.tensorType, dataRoot);
        row = Row(_tensor(commitment, run.tensorType), run.first);
    }

    function _tensor(bytes32 commitment, bytes memory packedType) private pure returns (bytes32) {
        return keccak256(bytes.concat(Tags.SUMS, commitment, packedType));
    }

    /// @dev INVARIANT: sums are of float32 numbers.
    function _requireFloat32Lanes(NodeRecord.TensorType memory tensorType) private pure {
        if (tensorType.dtype != DType.FLOAT32) revert NotFloat32(tensorType.dtype);
    }

    /// @dev INVARIANT: the lanes exist and lie in one row, so that the sums over them do, too.
    function _requireRun(NodeRecord.TensorType memory tensorType, uint256 first, uint256 lanes) private pure {
        _requireFloat32Lanes(tensorType);
        uint256 columns = tensorType.rowLength();
        bool isInside = first < tensorType.numel() && lanes <= columns - first % columns;
        if (lanes == 0 || !isInside) revert TensorProof.RunOutOfRange(first, lanes);
    }

    function _range(uint256 hint, uint256 lanes, Row memory a, Row memory b) private pure returns (Range memory) {
        return Range(hint, lanes, a.tensor, a.first, b.tensor, b.first);
    }

    function _key(uint256 hint, uint256 lanes, Row memory a, Row memory b) private pure returns (bytes32) {
        return keccak256(abi.encode(Tags.SUMS, _range(hint, lanes, a, b)));
    }
}
