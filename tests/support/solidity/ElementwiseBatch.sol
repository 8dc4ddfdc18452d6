// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "../../../contracts/libraries/Ball.sol";
import { Elementary } from "../../../contracts/libraries/Elementary.sol";
import { Elementwise } from "../../../contracts/libraries/Elementwise.sol";
import { Operator } from "../../../contracts/types/Types.sol";
import { Memory } from "./Memory.sol";

/// @dev The libraries on many arguments in one call. The memory of each case is used again by the next.
contract ElementwiseBatch {
    error UnknownFunction(string name);

    function operators() external pure returns (Operator[] memory) {
        return Elementwise.operators();
    }

    /// @param cases Operands, attributes and the claimed element of each case as big-endian words of 4 bytes.
    /// @return verdicts One byte a case, 1 where refuted.
    function refutes(Operator op, uint256 operands, uint256 attributes, bytes calldata cases)
        external
        pure
        returns (bytes memory verdicts)
    {
        uint32[] memory x = new uint32[](operands);
        uint32[] memory given = new uint32[](attributes);
        uint256 words = operands + attributes + 1;
        verdicts = new bytes(cases.length / (4 * words));
        uint256 free = Memory.free();
        for (uint256 i; i < verdicts.length; ++i) {
            uint256 at = 4 * words * i;
            for (uint256 j; j < words - 1; ++j) {
                uint32 word = uint32(bytes4(cases[at + 4 * j:]));
                if (j < operands) x[j] = word;
                else given[j - operands] = word;
            }
            if (Elementwise.refutes(op, x, given, uint32(bytes4(cases[at + 4 * words - 4:])))) verdicts[i] = 0x01;
            Memory.setFree(free);
        }
    }

    function evaluate(string calldata name, Ball[] calldata a, Ball[] calldata b)
        external
        pure
        returns (Ball[] memory results)
    {
        results = new Ball[](a.length);
        uint256 free = Memory.free();
        for (uint256 i; i < a.length; ++i) {
            Ball memory result = _evaluate(keccak256(bytes(name)), name, a[i], b.length == 0 ? a[i] : b[i]);
            (results[i].mid, results[i].rad, results[i].exp) = (result.mid, result.rad, result.exp);
            Memory.setFree(free);
        }
    }

    function _evaluate(bytes32 hash, string calldata name, Ball memory a, Ball memory b)
        private
        pure
        returns (Ball memory)
    {
        if (hash == keccak256("exp")) return Elementary.exp(a);
        if (hash == keccak256("log")) return Elementary.log(a);
        if (hash == keccak256("tanh")) return Elementary.tanh(a);
        if (hash == keccak256("erf")) return Elementary.erf(a);
        if (hash == keccak256("sin")) return Elementary.sin(a);
        if (hash == keccak256("cos")) return Elementary.cos(a);
        if (hash == keccak256("sigmoid")) return Elementary.sigmoid(a);
        if (hash == keccak256("silu")) return Elementary.silu(a);
        if (hash == keccak256("gelu")) return Elementary.gelu(a);
        if (hash == keccak256("geluTanh")) return Elementary.geluTanh(a);
        if (hash == keccak256("sqrt")) return Balls.sqrt(a);
        if (hash == keccak256("rsqrt")) return Balls.rsqrt(a);
        if (hash == keccak256("add")) return Balls.add(a, b);
        if (hash == keccak256("sub")) return Balls.sub(a, b);
        if (hash == keccak256("mul")) return Balls.mul(a, b);
        if (hash == keccak256("div")) return Balls.div(a, b);
        revert UnknownFunction(name);
    }
}
