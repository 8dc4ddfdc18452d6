// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Draws } from "../../../contracts/libraries/Draws.sol";
import { Float32Dot } from "../../../contracts/libraries/Float32Dot.sol";
import { RoundedElementwise } from "../../../contracts/libraries/RoundedElementwise.sol";
import { Rounding } from "../../../contracts/libraries/Rounding.sol";
import { RowSums } from "../../../contracts/libraries/RowSums.sol";
import { Skipped } from "../../../contracts/libraries/Skipped.sol";
import { Zone, Zones } from "../../../contracts/libraries/Zone.sol";
import { Operator } from "../../../contracts/types/Types.sol";

/// @dev The rules of rounded elements on many cases in one call. Verdicts have bit 0 where the claimed element is excluded
/// and bit 1 where the zone is split; 4 where nothing is known of the case or it reverts.
contract RoundedBatch {
    uint8 private constant UNDECIDED = 4;

    /// @param runs Two runs of FP32 numbers of one length; the second empty for a plain sum.
    /// @param cases Run numbers, hint and claimed element of each case.
    function sums(bytes[] calldata runs, uint256[4][] calldata cases) external view returns (bytes memory verdicts) {
        verdicts = new bytes(cases.length);
        for (uint256 i; i < cases.length; ++i) {
            uint256[4] calldata each = cases[i];
            uint8 verdict = UNDECIDED;
            try this.sumOne(runs[each[0]], runs[each[1]], each[2], uint32(each[3])) returns (uint8 given) {
                verdict = given;
            } catch { }
            verdicts[i] = bytes1(verdict);
        }
    }

    function sumOne(bytes calldata a, bytes calldata b, uint256 hint, uint32 y) external pure returns (uint8) {
        (uint256 first, uint256 second, uint256 lanes) = (_at(a), _at(b), a.length / 4);
        if (b.length == 0) {
            uint256 below = Skipped.numbers(first, lanes, hint);
            return _verdict(Zones.ofRow(RowSums.sum(first, lanes, hint).value, below), y);
        }
        uint256 skipped = Skipped.products(first, second, lanes, hint);
        return _verdict(Zones.ofDot(Float32Dot.dot(first, second, lanes, hint), skipped, hint), y);
    }

    /// @param cases Inputs and claimed element of each case.
    function elementwise(string calldata name, uint32[] calldata attributes, uint32[3][] calldata cases)
        external
        view
        returns (bytes memory verdicts)
    {
        verdicts = new bytes(cases.length);
        for (uint256 i; i < cases.length; ++i) {
            uint8 verdict = UNDECIDED;
            try this.elementOne(name, attributes, cases[i]) returns (uint8 given) {
                verdict = given;
            } catch { }
            verdicts[i] = bytes1(verdict);
        }
    }

    function elementOne(string calldata name, uint32[] calldata attributes, uint32[3] calldata values)
        external
        pure
        returns (uint8)
    {
        Operator op = Operator.wrap(bytes4(keccak256(bytes(name))));
        (uint256 inputs, bool logged) = RoundedElementwise.signature(op);
        uint32[] memory x = new uint32[](inputs);
        for (uint256 i; i < inputs; ++i) {
            x[i] = values[i];
        }
        (RoundedElementwise.Result known, Zone memory zone) = RoundedElementwise.zone(op, x, attributes);
        if (known == RoundedElementwise.Result.Unknown) return UNDECIDED;
        return (RoundedElementwise.excludes(known, zone, logged, values[2]) ? 1 : 0) | (zone.isSplit() ? 2 : 0);
    }

    function nearest(int256[] calldata mids, int256[] calldata exps) external pure returns (int256[] memory orders) {
        orders = new int256[](mids.length);
        for (uint256 i; i < mids.length; ++i) {
            orders[i] = Rounding.nearest(mids[i], exps[i]);
        }
    }

    function members(uint256[] calldata positions, uint256 size, uint256 key)
        external
        pure
        returns (uint256[] memory results)
    {
        results = new uint256[](positions.length);
        for (uint256 i; i < positions.length; ++i) {
            (, results[i]) = Draws.member(positions[i], size, key);
        }
    }

    function areKept(uint256[] calldata elements, uint256 step, uint256 stream, uint256 threshold, uint256 key)
        external
        pure
        returns (bool[] memory results)
    {
        results = new bool[](elements.length);
        for (uint256 i; i < elements.length; ++i) {
            results[i] = Draws.isKept(elements[i], step, stream, threshold, key);
        }
    }

    function _verdict(Zone memory zone, uint32 y) private pure returns (uint8) {
        return (zone.excludes(y) ? 1 : 0) | (zone.isSplit() ? 2 : 0);
    }

    function _at(bytes calldata run) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := run.offset
        }
    }
}
