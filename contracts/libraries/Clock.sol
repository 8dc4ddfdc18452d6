// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { Duration, Timestamp } from "../types/Types.sol";

/// @title Deadlines and chess clocks.
/// @notice The one rule of time, used for windows and turns alike: a deadline is the last second at which
/// one may act, and it has passed from the second after it on.
library Clock {
    /// @dev A budget above this is a mistake; below it no sum of times can overflow.
    uint64 internal constant LONGEST = 365 days;

    function present() internal view returns (Timestamp) {
        return Timestamp.wrap(SafeCast.toUint64(block.timestamp));
    }

    /// @notice Positive and at most LONGEST.
    function isSane(Duration duration) internal pure returns (bool) {
        uint64 length = Duration.unwrap(duration);
        return length > 0 && length <= LONGEST;
    }

    /// @notice Last second of a stretch of `duration` that begins at `start`.
    function deadline(Timestamp start, Duration duration) internal pure returns (Timestamp) {
        return Timestamp.wrap(Timestamp.unwrap(start) + Duration.unwrap(duration));
    }

    function hasPassed(Timestamp deadline_) internal view returns (bool) {
        return block.timestamp > Timestamp.unwrap(deadline_);
    }

    /// @notice What is left of the budget `left` after a turn that began at `start` and ends now.
    /// @dev Reverts if the turn's deadline has passed.
    function spend(Duration left, Timestamp start) internal view returns (Duration) {
        return Duration.wrap(Duration.unwrap(left) - (Timestamp.unwrap(present()) - Timestamp.unwrap(start)));
    }
}
