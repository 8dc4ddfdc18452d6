// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Float32Dot } from "./Float32Dot.sol";
import { RowSums } from "./RowSums.sol";

/// @title How many terms of a windowed sum are below its window W, and so unknown but for a bound; zeros are not.
/// @notice Sums of Float32Dot count products from E = W on, sums of RowSums numbers from e = W on; see there. A sum of
/// which nothing was skipped is exact, so that ties are decided.
library Skipped {
    uint256 private constant BEYOND = 1 << 16; // all windows

    /// @notice Of the products of two runs of finite FP32 numbers in calldata.
    function products(uint256 a, uint256 b, uint256 lanes, uint256 window) internal pure returns (uint256 count) {
        if (window == Float32Dot.MIN_WINDOW) return 0;
        unchecked {
            for (uint256 end = a + 4 * lanes; a != end; a += 4) {
                if (place(_load(a)) + place(_load(b)) < window) ++count;
                b += 4;
            }
        }
    }

    /// @notice Of a run of finite FP32 numbers in calldata.
    function numbers(uint256 run, uint256 lanes, uint256 window) internal pure returns (uint256 count) {
        if (window == RowSums.MIN_WINDOW) return 0;
        unchecked {
            for (uint256 end = run + 4 * lanes; run != end; run += 4) {
                if (place(_load(run)) < window) ++count;
            }
        }
    }

    /// @notice The exponent e of a finite FP32 number, 1 for subnormals; of a zero beyond every window.
    function place(uint32 bits) internal pure returns (uint256 exponent) {
        unchecked {
            if (bits << 1 == 0) return BEYOND;
            exponent = (bits >> 23) & 0xff;
            if (exponent == 0) exponent = 1;
        }
    }

    function _load(uint256 position) private pure returns (uint32 bits) {
        assembly ("memory-safe") {
            bits := shr(224, calldataload(position))
        }
    }
}
