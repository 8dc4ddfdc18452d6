// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Element } from "../../../contracts/libraries/Element.sol";
import { ExactRule } from "../../../contracts/libraries/ExactRule.sol";
import { Operator } from "../../../contracts/types/Types.sol";
import { Memory } from "./Memory.sol";

/// @dev The rule on many elements in one call. The memory of each case is used again by the next.
contract ExactRuleBatch {
    function operators() external pure returns (Operator[] memory) {
        return ExactRule.operators();
    }

    /// @param types Types of the operands and of the output.
    /// @param attributes How many there are.
    /// @param cases Operands, attributes and the claimed element of each case as big-endian words of 8 bytes.
    /// @return verdicts One byte a case, 1 where refuted.
    function refutes(Operator op, uint8[] calldata types, uint256 attributes, bytes calldata cases)
        external
        pure
        returns (bytes memory verdicts)
    {
        uint256 operands = types.length - 1;
        uint256 words = operands + attributes + 1;
        Element[] memory x = new Element[](operands);
        uint32[] memory given = new uint32[](attributes);
        Element memory y;
        verdicts = new bytes(cases.length / (8 * words));
        uint256 free = Memory.free();
        for (uint256 i; i < verdicts.length; ++i) {
            uint256 at = 8 * words * i;
            for (uint256 j; j < words; ++j) {
                uint64 word = uint64(bytes8(cases[at + 8 * j:]));
                if (j < operands) x[j] = Element(types[j], word);
                else if (j < words - 1) given[j - operands] = uint32(word);
                else y = Element(types[operands], word);
            }
            if (ExactRule.refutes(op, x, given, y)) verdicts[i] = 0x01;
            Memory.setFree(free);
        }
    }
}
