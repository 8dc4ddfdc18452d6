// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Clock } from "../../contracts/libraries/Clock.sol";
import { Duration, Timestamp } from "../../contracts/types/Types.sol";
import { Cheats } from "./mocks/Cheats.sol";

/// @dev Behind calls, as the optimiser takes block.timestamp for constant within one.
contract ClockCaller {
    function hasPassed(Timestamp deadline) external view returns (bool) {
        return Clock.hasPassed(deadline);
    }

    function present() external view returns (Timestamp) {
        return Clock.present();
    }

    function spend(Duration left, Timestamp start) external view returns (Duration) {
        return Clock.spend(left, start);
    }
}

contract ClockTest is Cheats {
    ClockCaller private immutable _clock = new ClockCaller();

    function testFuzz_deadline_isTheLastSecondThatCounts(uint64 start, uint64 length) external {
        start = uint64(bound(start, 1, type(uint40).max));
        length = uint64(bound(length, 1, Clock.LONGEST));
        Timestamp deadline = Clock.deadline(Timestamp.wrap(start), Duration.wrap(length));
        vm.warp(uint256(start) + length - 1);
        vm.assertFalse(_clock.hasPassed(deadline), "one second before");
        vm.warp(uint256(start) + length);
        vm.assertFalse(_clock.hasPassed(deadline), "at the deadline");
        vm.warp(uint256(start) + length + 1);
        vm.assertTrue(_clock.hasPassed(deadline), "one second after");
    }

    function testFuzz_spend_takesTheTurnsLengthOffTheBudget(uint64 start, uint64 left, uint64 elapsed) external {
        start = uint64(bound(start, 1, type(uint40).max));
        left = uint64(bound(left, 0, Clock.LONGEST));
        elapsed = uint64(bound(elapsed, 0, left));
        vm.warp(uint256(start) + elapsed);
        Duration rest = _clock.spend(Duration.wrap(left), Timestamp.wrap(start));
        vm.assertEq(uint256(Duration.unwrap(rest)), left - elapsed, "rest");
    }

    function testFuzz_spend_afterTheDeadline_reverts(uint64 left, uint64 late) external {
        left = uint64(bound(left, 0, Clock.LONGEST));
        late = uint64(bound(late, 1, Clock.LONGEST));
        vm.warp(1000 + uint256(left) + late);
        vm.expectRevert();
        _clock.spend(Duration.wrap(left), Timestamp.wrap(1000));
    }

    function testFuzz_turns_ofOneSideShareItsBudget(uint64[5] memory pauses) external {
        uint64 budget = 5000;
        uint256 spent;
        Duration left = Duration.wrap(budget);
        vm.warp(1000);
        for (uint256 i = 0; i < pauses.length; ++i) {
            Timestamp start = _clock.present();
            uint256 pause = bound(pauses[i], 0, 1000);
            vm.warp(Timestamp.unwrap(start) + pause);
            spent += pause;
            left = _clock.spend(left, start);
        }
        vm.assertEq(uint256(Duration.unwrap(left)), budget - spent, "budget less all turns");
    }

    function test_isSane_bounds() external pure {
        vm.assertFalse(Clock.isSane(Duration.wrap(0)), "zero");
        vm.assertTrue(Clock.isSane(Duration.wrap(1)), "one second");
        vm.assertTrue(Clock.isSane(Duration.wrap(Clock.LONGEST)), "a year");
        vm.assertFalse(Clock.isSane(Duration.wrap(Clock.LONGEST + 1)), "above a year");
    }
}
