// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { Timestamp } from "../types/Types.sol";
import { Clock } from "./Clock.sol";
import { Sortition } from "./Sortition.sol";

/// @title The seats of a committee and the draw from them.
/// @notice Announcements are numbered. An announcement counts the members, and a seat remembers the number of
/// the first announcement that passes it over. So who may be drawn is settled before the seed exists: a seat
/// added or excluded later bears on later announcements only, and the panel is a function of the seed alone.
/// Nor is a seat drawn for what was known before its stake was there: stakes are not bought for one case.
/// @dev Two moves would break that while a draw is pending: `remove` shifts places and `restore` forgets the
/// number. The caller withholds both until no draw is pending.
library Roster {
    using SafeCast for uint256;
    using Sortition for Sortition.Urn;

    /// @param position One past the index in the list of members; zero where there is no seat.
    /// @param duties Panels the member sits on.
    /// @param until Number of the first announcement that passes the seat over.
    /// @param leavesAt Zero unless the member asked to leave.
    /// @param wholeSince When the seat was added or restored last.
    struct Seat {
        uint32 position;
        uint32 duties;
        uint64 until;
        Timestamp leavesAt;
        Timestamp wholeSince;
    }

    /// @param announcements How many there were.
    struct Members {
        uint64 announcements;
        address[] list;
        mapping(address member => Seat) seats;
    }

    /// @param number Counted from 1.
    /// @param population Members at the announcement: the draw is from the first `population` of the list.
    /// @param prover Not drawn.
    /// @param challenger Not drawn.
    /// @param since Seats that are not whole since before this second are passed over.
    struct Announcement {
        uint64 number;
        uint32 population;
        address prover;
        address challenger;
        Timestamp since;
    }

    function announce(Members storage members, address prover, address challenger, Timestamp since)
        internal
        returns (Announcement memory)
    {
        return Announcement(++members.announcements, members.list.length.toUint32(), prover, challenger, since);
    }

    function add(Members storage members, address member) internal {
        members.list.push(member);
        Seat storage seat = members.seats[member];
        seat.position = members.list.length.toUint32();
        restore(members, member);
    }

    /// @notice The last seat takes over the place of the one removed.
    function remove(Members storage members, address member) internal {
        uint32 position = members.seats[member].position;
        address last = members.list[members.list.length - 1];
        members.list[position - 1] = last;
        members.seats[last].position = position;
        members.list.pop();
        delete members.seats[member];
    }

    /// @notice Include the member in every draw to come about what is not known yet.
    function restore(Members storage members, address member) internal {
        Seat storage seat = members.seats[member];
        seat.until = type(uint64).max;
        seat.wholeSince = Clock.present();
    }

    /// @notice Exclude the member from the next announcement on.
    function exclude(Members storage members, address member) internal {
        uint64 next = members.announcements + 1;
        if (members.seats[member].until > next) members.seats[member].until = next;
    }

    function isEligible(Members storage members, address member, uint64 announcement, Timestamp since)
        internal
        view
        returns (bool)
    {
        Seat storage seat = members.seats[member];
        return announcement < seat.until && Timestamp.unwrap(seat.wholeSince) < Timestamp.unwrap(since);
    }

    /// @notice Draw up to `size` eligible members without the two parties.
    /// @dev Attempts are bounded. While half of the seats are eligible, a draw misses its size by that bound
    /// with probability below 1e-9.
    function draw(Members storage members, Announcement memory announcement, uint256 size, bytes32 seed)
        internal
        view
        returns (address[] memory panel)
    {
        Sortition.Urn memory urn = Sortition.fill(seed, announcement.population, 4 * size + 32);
        panel = new address[](size);
        uint256 filled = 0;
        while (filled < size && !urn.isEmpty()) {
            address member = members.list[urn.next()];
            if (member == announcement.prover || member == announcement.challenger) continue;
            if (isEligible(members, member, announcement.number, announcement.since)) panel[filled++] = member;
        }
        truncate(panel, filled);
    }

    /// @notice Shorten a list in memory in place.
    function truncate(address[] memory list, uint256 length) internal pure {
        assembly ("memory-safe") {
            mstore(list, length)
        }
    }
}
