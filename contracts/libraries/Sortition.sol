// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Drawing without replacement from a population of any size.
/// @notice A partial Fisher-Yates shuffle that remembers only the places it has touched: a draw costs the same
/// whatever the population, and every sequence of distinct indices is equally likely (up to the bias of a
/// 256-bit number modulo the population, below 2^-224 for populations below 2^32).
library Sortition {
    /// @param seed What all draws follow from.
    /// @param population Indices 0 .. population - 1 are in the urn at the start.
    /// @param drawn Indices drawn so far.
    /// @param limit Draws possible: no more than the population.
    /// @param places Hash table (open addressing, at most half full) of the places touched, plus one.
    /// @param contents What those places hold now; every other place holds its own index.
    struct Urn {
        bytes32 seed;
        uint256 population;
        uint256 drawn;
        uint256 limit;
        uint256[] places;
        uint256[] contents;
    }

    /// @param maximum Draws after which the urn counts as empty; bounds memory and cost.
    function fill(bytes32 seed, uint256 population, uint256 maximum) internal pure returns (Urn memory) {
        uint256 limit = population < maximum ? population : maximum;
        return Urn(seed, population, 0, limit, new uint256[](2 * limit), new uint256[](2 * limit));
    }

    function isEmpty(Urn memory urn) internal pure returns (bool) {
        return urn.drawn == urn.limit;
    }

    /// @notice The next index. Panics on an empty urn.
    function next(Urn memory urn) internal pure returns (uint256 index) {
        assert(!isEmpty(urn));
        uint256 k = urn.drawn++;
        uint256 place = k + uint256(keccak256(abi.encode(urn.seed, k))) % (urn.population - k);
        uint256 slot;
        (slot, index) = _find(urn, place);
        // The place drawn from takes over what place k holds; no later draw looks at place k.
        (, uint256 displaced) = _find(urn, k);
        urn.places[slot] = place + 1;
        urn.contents[slot] = displaced;
    }

    /// @return slot Where `place` is in the table, or would be.
    /// @return content What the place holds.
    function _find(Urn memory urn, uint256 place) private pure returns (uint256 slot, uint256 content) {
        uint256 capacity = urn.places.length;
        for (slot = place % capacity; urn.places[slot] != 0; slot = (slot + 1) % capacity) {
            if (urn.places[slot] == place + 1) return (slot, urn.contents[slot]);
        }
        return (slot, place);
    }
}
