// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Moments } from "../../../contracts/libraries/Moments.sol";
import { Normalisation } from "../../../contracts/libraries/Normalisation.sol";
import { Memory } from "./Memory.sol";

/// @dev The libraries on many claimed elements in one call. The memory of each case is used again by the next.
contract NormalisationBatch {
    function sums(bytes calldata row, uint256 window) external pure returns (Moments.Sums memory) {
        return Moments.sums(_position(row), row.length / 4, window);
    }

    /// @param row Numbers of the row as big-endian words of 4 bytes.
    /// @param window Window exponent of the row's sums.
    /// @param cases x, w, b, eps and y of each case, as such words.
    /// @return verdicts One byte a case, 1 where refuted.
    function refutesRow(bool rms, bytes calldata row, uint256 window, bytes calldata cases)
        external
        pure
        returns (bytes memory verdicts)
    {
        Moments.Sums memory sums_ = Moments.sums(_position(row), row.length / 4, window);
        verdicts = new bytes(cases.length / 20);
        uint256 free = Memory.free();
        for (uint256 i; i < verdicts.length; ++i) {
            Normalisation.Element memory element = _element(cases[20 * i:]);
            bool refuted = rms
                ? Normalisation.refutesRms(sums_, row.length / 4, element)
                : Normalisation.refutesLayer(sums_, row.length / 4, element);
            if (refuted) verdicts[i] = 0x01;
            Memory.setFree(free);
        }
    }

    /// @param cases x, w, b, eps, y, mean and variance of each case.
    function refutesBatch(bytes calldata cases) external pure returns (bytes memory verdicts) {
        verdicts = new bytes(cases.length / 28);
        uint256 free = Memory.free();
        for (uint256 i; i < verdicts.length; ++i) {
            bytes calldata words = cases[28 * i:];
            uint32 mean = uint32(bytes4(words[20:]));
            uint32 variance = uint32(bytes4(words[24:]));
            if (Normalisation.refutesBatch(mean, variance, _element(words))) verdicts[i] = 0x01;
            Memory.setFree(free);
        }
    }

    function _element(bytes calldata words) private pure returns (Normalisation.Element memory) {
        return Normalisation.Element({
            x: uint32(bytes4(words)),
            weight: uint32(bytes4(words[4:])),
            bias: uint32(bytes4(words[8:])),
            epsilon: uint32(bytes4(words[12:])),
            claimed: uint32(bytes4(words[16:]))
        });
    }

    function _position(bytes calldata row) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := row.offset
        }
    }
}
