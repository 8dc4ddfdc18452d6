// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball } from "../../../contracts/libraries/Ball.sol";
import { ExponentialSums } from "../../../contracts/libraries/ExponentialSums.sol";
import { Reduction } from "../../../contracts/libraries/Reduction.sol";
import { RowSums } from "../../../contracts/libraries/RowSums.sol";
import { Softmax } from "../../../contracts/libraries/Softmax.sol";

/// @dev The rules of rows on many cases in one call.
contract RowBatch {
    error UnknownFunction(string name);

    uint256 private constant FALSE = 0;
    uint256 private constant TRUE = 1;
    uint256 private constant REVERTED = 2;

    /// @param rows Rows of FP32 numbers; they need not be of one length.
    /// @param cases Row number, lane, hint and claimed element of each case.
    /// @return verdicts One byte a case: whether it is refuted, or 2 where the proof reverts.
    function refutes(string calldata name, bytes[] calldata rows, uint256[4][] calldata cases)
        external
        view
        returns (bytes memory verdicts)
    {
        verdicts = new bytes(cases.length);
        for (uint256 i; i < cases.length; ++i) {
            (uint256 row, uint256 lane, uint256 hint, uint256 y) = (cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
            uint256 verdict = REVERTED;
            try this.refutesOne(name, rows[row], lane, hint, uint32(y)) returns (bool refuted) {
                verdict = refuted ? TRUE : FALSE;
            } catch { }
            verdicts[i] = bytes1(uint8(verdict));
        }
    }

    function refutesOne(string calldata name, bytes calldata row, uint256 lane, uint256 hint, uint32 y)
        external
        pure
        returns (bool)
    {
        (uint256 run, uint256 lanes) = (_at(row), row.length / 4);
        bytes32 hash = keccak256(bytes(name));
        if (hash == keccak256("softmax")) {
            return Softmax.refutes(ExponentialSums.sum(run, lanes, hint), lanes, ExponentialSums.load(run, lane), y);
        }
        if (hash == keccak256("log_softmax")) {
            return Softmax.refutesLog(ExponentialSums.sum(run, lanes, hint), lanes, ExponentialSums.load(run, lane), y);
        }
        if (hash == keccak256("sum")) return Reduction.refutesSum(RowSums.sum(run, lanes, hint), lanes, y);
        if (hash == keccak256("mean")) return Reduction.refutesMean(RowSums.sum(run, lanes, hint), lanes, y);
        if (hash == keccak256("norm")) return Reduction.refutesNorm(run, lanes, hint, y);
        if (hash == keccak256("amax")) return Reduction.refutesMaximum(run, lanes, y);
        revert UnknownFunction(name);
    }

    /// @return S and W.
    function exponentialSums(bytes calldata row, uint256 largest) external pure returns (Ball memory, Ball memory) {
        ExponentialSums.Sums memory sums = ExponentialSums.sum(_at(row), row.length / 4, largest);
        return (sums.total, sums.weighted);
    }

    /// @return S, T and D.
    function plainSums(bytes calldata row, uint256 window)
        external
        pure
        returns (Ball memory, Ball memory, Ball memory)
    {
        RowSums.Sums memory sums = RowSums.sum(_at(row), row.length / 4, window);
        return (sums.value, sums.magnitude, sums.subnormal);
    }

    function _at(bytes calldata row) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := row.offset
        }
    }
}
