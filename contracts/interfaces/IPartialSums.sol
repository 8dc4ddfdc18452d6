// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "./IAdjudicator.sol";

/// @title Sums over parts of rows, computed in transactions of their own and recorded.
/// @notice Nodes refuse transactions above 128 KiB, so what an element with longer operands sums is computed piece by
/// piece: anyone posts pieces of its rows, in any order, and a proof then names the pieces instead of opening the rows.
///
/// A record says only this: over `lanes` neighbouring elements of a committed float32 tensor, from element `first` on,
/// or over the products of two such runs, the adjudicator's sums are these integers, in the units that the hint fixes.
/// It depends on no dispute and on nobody's word, never changes, and serves whoever needs it; its key is made of all
/// that the sums depend on, so a piece of another tensor, of other lanes or with another hint is another record.
///
/// In the sum game (ISumGame) both sides of a dispute agree on the sums over a range instead. That is their word, which no
/// record is made of: `refutesGiven` takes it from its caller, and `refutes` knows nothing of it.
///
/// | adjudicator | runs | hint | first | second | third |
/// |---|---|---|---|---|---|
/// | contraction, convolution | 2 | window of Float32Dot | products above zero | below zero | with a subnormal factor |
/// | sum, mean | 1 | window of RowSums | numbers above zero | below zero | subnormal ones |
/// | normalisation | 1 | window of Moments | numbers above zero | below zero | squares |
/// | rounded contraction | 2 | window of Float32Dot | products above zero | below zero | number of those below the window |
/// | rounded sum | 1 | window of RowSums | numbers above zero | below zero | number of those below the window |
/// | softmax | 1 | maximum of the row, an FP32 encoding | S of ExponentialSums | 0 | W |
interface IPartialSums {
    /// @notice One tensor's part of a piece, opened by an aligned subtree (docs/protocol.md, section 1).
    /// @param tensorType Packed type of the tensor.
    /// @param first Row-major number of the piece's first element in the tensor.
    /// @param data As in TensorProof.Opening.
    /// @param path As in TensorProof.Opening.
    struct Run {
        bytes tensorType;
        uint256 first;
        bytes data;
        bytes32[] path;
    }

    /// @param hint What the sums are scaled by, as in the proofs of the operator.
    /// @param lanes Elements of each run.
    struct Piece {
        uint256 hint;
        uint256 lanes;
        Run[] runs;
    }

    /// @param isKnown Whether the piece was ever posted; otherwise the sums are zeros and mean nothing.
    struct Sums {
        uint128 first;
        uint128 second;
        uint248 third;
        bool isKnown;
    }

    /// @notice A tensor whose runs are named by records rather than opened.
    /// @param weightsPath Path of the commitment in the weights tree; empty unless the tensor is a parameter.
    struct Source {
        bytes32 commitment;
        bytes32[] weightsPath;
    }

    /// @notice What sums are said of. keccak256(abi.encode(TAG_sums, range)) is the key of the sums.
    /// @param hint As in Piece.
    /// @param lanes Elements of each run.
    /// @param tensor keccak256(TAG_sums || commitment || packed type) of the first run's tensor.
    /// @param first Row-major number of the run's first element.
    /// @param otherTensor As `tensor`, of the second run; 0 where there is one only, as is `otherFirst`.
    struct Range {
        uint256 hint;
        uint256 lanes;
        bytes32 tensor;
        uint256 first;
        bytes32 otherTensor;
        uint256 otherFirst;
    }

    event SumsRecorded(bytes32 indexed key, uint256 lanes);

    error WrongRunCount(uint256 given, uint256 required);
    error WrongTensorCount(uint256 given, uint256 required);
    error WrongPointCount(uint256 given, uint256 required);
    error NotFloat32(uint8 dtype);
    error MalformedRecordedProof();
    /// @notice The pieces end before the rows do.
    error PiecesMissing(uint256 lanes);
    error PieceBeyondRun(uint256 lanes, uint256 left);
    error UnknownPiece(bytes32 key);

    /// @notice Anyone: compute and record the sums over pieces. Pieces that are recorded already are passed over.
    function post(Piece[] calldata pieces) external;

    /// @notice What is recorded under the key of a range.
    function sumsOf(bytes32 key) external view returns (Sums memory);

    /// @notice Which of these keys something is recorded under, for those who go on posting.
    function areKnown(bytes32[] calldata keys) external view returns (bool[] memory);

    /// @notice `lanes` elements of each of a node's first operands that its lanes lie in, from the element `firsts` on.
    /// Reverts where they are not the operands' own, are no float32 numbers or do not lie in one row each.
    function rangeOf(
        IAdjudicator.Leaf calldata leaf,
        Source[] calldata tensors,
        uint256[] calldata firsts,
        uint256 lanes,
        uint256 hint
    ) external pure returns (Range memory);

    /// @notice The three sums over a range, from the records of pieces that follow one another from its first to its last.
    /// @param lanes Lanes of each piece, in order.
    function totalOf(Range calldata range, uint256[] calldata lanes) external view returns (uint256[3] memory);

    /// @notice As `IAdjudicator.refutes`, were these the sums over the range of this key.
    /// @dev The caller answers for them: it must have had the prover's consent.
    function refutesGiven(IAdjudicator.Leaf calldata leaf, bytes calldata proof, bytes32 key, uint256[3] calldata sums)
        external
        view
        returns (bool);
}
