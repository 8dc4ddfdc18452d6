"""Keccak-256 of many equal blocks at once, several to a SIMD register.

Lane l of every vector belongs to block l, so the permutation needs no data to cross lanes. It is written in
LLVM's vector types because automatic vectorisers give up on 25 interleaved words; LLVM splits the vectors
where registers are narrower. Importing this module compiles it, or loads it from numba's cache.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
ROUNDS = 24
RATE = 17
"""Words of 8 bytes absorbed before each permutation (FIPS 202: capacity 512 bits)."""
FIRST_PAD = np.uint64(0x01)  # Keccak's own padding; SHA-3 would begin with 0x06
LAST_PAD = np.uint64(1 << 63)


def _rotations() -> list[int]:
    """Offsets of rho by x + 5y (FIPS 202, 3.2.2)."""
    offsets = [0] * 25
    x, y = 1, 0
    for t in range(24):
        offsets[x + 5 * y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return offsets


def _round_constants() -> list[int]:
    """Words that iota adds to lane (0, 0) (FIPS 202, 3.2.5)."""
    constants, register = [], 1
    for _ in range(ROUNDS):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << (2**j - 1)
            register = register << 1 ^ (register >> 7) * 0x171
        constants.append(constant)
    return constants


def _round(builder: ir.IRBuilder, a: list, constant: ir.Value) -> list:
    """One round of Keccak-f[1600] on 25 vectors a[x + 5y]: theta, rho, pi, chi, iota."""
    vector = a[0].type

    def splat(value: int) -> ir.Constant:
        return ir.Constant(vector, [value] * LANES)

    def rotate(v: ir.Value, by: int) -> ir.Value:
        return builder.or_(builder.shl(v, splat(by)), builder.lshr(v, splat(64 - by))) if by else v

    def xor(first: ir.Value, *others: ir.Value) -> ir.Value:
        for other in others:
            first = builder.xor(first, other)
        return first

    columns = [xor(*a[x::5]) for x in range(5)]
    theta = [xor(columns[x - 1], rotate(columns[(x + 1) % 5], 1)) for x in range(5)]
    b = list(a)
    for y in range(5):
        for x in range(5):
            b[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(xor(a[x + 5 * y], theta[x]), _ROTATIONS[x + 5 * y])
    chi = [
        xor(b[x + 5 * y], builder.and_(builder.not_(b[(x + 1) % 5 + 5 * y]), b[(x + 2) % 5 + 5 * y]))
        for y in range(5)
        for x in range(5)
    ]
    return [xor(chi[0], constant), *chi[1:]]


_ROTATIONS = _rotations()


@intrinsic
def _permute(typing_context, state):
    """Keccak-f[1600] in place on a uint64[25, LANES] array."""

    def generate(context, builder, signature, arguments):
        word, index = ir.IntType(64), ir.IntType(32)
        vector = ir.VectorType(word, LANES)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        base = builder.bitcast(array.data, vector.as_pointer())
        places = [builder.gep(base, [index(k)]) for k in range(25)]
        table = ir.Constant(ir.ArrayType(vector, ROUNDS), [[c] * LANES for c in _round_constants()])
        constants = cgutils.global_constant(builder, "keccak_round_constants", table)

        entry = builder.block
        loop, done = builder.append_basic_block("round"), builder.append_basic_block("permuted")
        # numpy aligns to 16 bytes at most
        before = [builder.load(place, align=8) for place in places]
        builder.branch(loop)
        builder.position_at_end(loop)
        number = builder.phi(index)
        a = [builder.phi(vector) for _ in places]
        after = _round(builder, a, builder.load(builder.gep(constants, [index(0), number]), align=8))
        following = builder.add(number, index(1))
        builder.cbranch(builder.icmp_unsigned("<", following, index(ROUNDS)), loop, done)
        for phi, first, next_ in zip([number, *a], [index(0), *before], [following, *after], strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(next_, loop)
        builder.position_at_end(done)
        for place, value in zip(places, after, strict=True):
            builder.store(value, place, align=8)
        return context.get_dummy_value()

    return types.void(state), generate


@intrinsic
def _load_word(typing_context, data, offset):
    """The 8 bytes at `offset` of a uint8 array's memory, in the machine's byte order, at any alignment."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@njit(inline="always")
def _to_big_endian(word, element_size):
    """Reverse the bytes of each element of `element_size` bytes in a word of 8."""
    if element_size >= 2:
        low = np.uint64(0x00FF00FF00FF00FF)
        word = (word & low) << np.uint64(8) | (word >> np.uint64(8)) & low
    if element_size >= 4:
        low = np.uint64(0x0000FFFF0000FFFF)
        word = (word & low) << np.uint64(16) | (word >> np.uint64(16)) & low
    if element_size >= 8:
        word = word << np.uint64(32) | word >> np.uint64(32)
    return word


_ROWS = types.Array(types.uint8, 2, "C", readonly=True)
_HASHES = types.Array(types.uint64, 2, "C")


@njit(types.void(_ROWS, types.int64, types.int64, _HASHES, types.int64, types.int64), nogil=True, cache=True)
def hash_chunks(rows, chunk_size, element_size, hashes, start, stop):
    """Write the hashes of chunks `start` to `stop`, counted row by row, to hashes[start:stop].

    rows: uint8[n, row size], elements little-endian, hashed big-endian. Each row is cut into chunks of
    `chunk_size` bytes (a multiple of 8), the last one filled with zeros. hashes: uint64[chunks, 4].
    """
    row_size = rows.shape[1]
    chunks_per_row = (row_size + chunk_size - 1) // chunk_size
    chunk_words = chunk_size // 8
    state = np.empty((25, LANES), np.uint64)
    block = np.empty((RATE, LANES), np.uint64)
    for first in range(start, stop, LANES):
        state[:] = 0
        used = min(LANES, stop - first)
        for begin in range(0, chunk_words + 1, RATE):
            block[:] = 0
            for lane in range(used):
                row, chunk = divmod(first + lane, chunks_per_row)
                left = row_size - chunk * chunk_size - begin * 8
                offset = row * row_size + row_size - left
                size = min(left, min(RATE, chunk_words - begin) * 8)
                for k in range(size // 8):
                    block[k, lane] = _load_word(rows, offset + k * 8)
                for k in range(max(size, 0) // 8 * 8, size):
                    byte = np.uint64(rows[row, row_size - left + k])
                    block[k // 8, lane] |= byte << np.uint64(k % 8 * 8)
            for k in range(RATE):
                for lane in range(LANES):
                    state[k, lane] ^= _to_big_endian(block[k, lane], element_size)
            if begin + RATE > chunk_words:
                for lane in range(LANES):
                    state[chunk_words - begin, lane] ^= FIRST_PAD
                    state[RATE - 1, lane] ^= LAST_PAD
            _permute(state)
        for lane in range(used):
            for k in range(4):
                hashes[first + lane, k] = state[k, lane]
