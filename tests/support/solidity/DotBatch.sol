// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Float32Dot } from "../../../contracts/libraries/Float32Dot.sol";

/// @dev The calibrated rule of contractions on many cases in one call.
contract DotBatch {
    using Float32Dot for Float32Dot.Sum;

    struct Case {
        bytes a;
        bytes b;
        bool hasBias;
        uint32 bias;
        uint256 window;
        uint32 y;
        uint32 theta;
    }

    uint256 private constant FALSE = 0;
    uint256 private constant TRUE = 1;
    uint256 private constant REVERTED = 2;

    /// @return verdicts One byte a case: whether it exceeds its theta, or 2 where the proof reverts.
    function exceeds(Case[] calldata cases) external view returns (bytes memory verdicts) {
        verdicts = new bytes(cases.length);
        for (uint256 i; i < cases.length; ++i) {
            uint256 verdict = REVERTED;
            try this.exceedsOne(cases[i]) returns (bool exceeded) {
                verdict = exceeded ? TRUE : FALSE;
            } catch { }
            verdicts[i] = bytes1(uint8(verdict));
        }
    }

    function exceedsOne(Case calldata one) external pure returns (bool) {
        uint256 lanes = one.a.length / 4;
        Float32Dot.Sum memory sum;
        sum.squared = true;
        sum.addRun(_at(one.a), _at(one.b), lanes, one.window);
        if (one.hasBias) sum.add(one.bias, one.window);
        return sum.exceeds(one.hasBias ? lanes + 1 : lanes, one.window, one.y, one.theta);
    }

    function _at(bytes calldata run) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := run.offset
        }
    }
}
