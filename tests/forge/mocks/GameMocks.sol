// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../../../contracts/interfaces/IAdjudicator.sol";
import { IBondVault } from "../../../contracts/interfaces/IBondVault.sol";
import { IOperatorCommittee } from "../../../contracts/interfaces/IOperatorCommittee.sol";
import { DisputeId, Operator, Timestamp } from "../../../contracts/types/Types.sol";

/// @dev Decides as the proof says: abi.encode(verdict, words of memory to hash first).
contract MockAdjudicator {
    bytes4[] private _operators;

    constructor(bytes4[] memory operators_) {
        _operators = operators_;
    }

    function operators() external view returns (Operator[] memory list) {
        list = new Operator[](_operators.length);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = Operator.wrap(_operators[i]);
        }
    }

    function refutes(IAdjudicator.Leaf calldata, bytes calldata proof) external pure returns (bool verdict) {
        uint256 work;
        (verdict, work) = abi.decode(proof, (bool, uint256));
        _hash(proof, work);
    }

    function _hash(bytes calldata proof, uint256 work) internal pure {
        bytes32 digest = keccak256(proof);
        for (uint256 i = 0; i < work; ++i) {
            digest = keccak256(abi.encode(digest));
        }
        require(digest != 0);
    }
}

/// @dev Measures what the proof says: abi.encode(multiple in units of 2^-16, words of memory to hash first).
contract MockCalibratedAdjudicator is MockAdjudicator {
    constructor(bytes4[] memory operators_) MockAdjudicator(operators_) { }

    function exceeds(IAdjudicator.Leaf calldata, bytes calldata proof, uint32 theta) external pure returns (bool) {
        (uint256 measured, uint256 work) = abi.decode(proof, (uint256, uint256));
        _hash(proof, work);
        return measured > theta;
    }
}

/// @dev Tallies as told and remembers what it was asked.
contract MockCommittee {
    address public disputeGame;
    IBondVault public vault;
    uint256 private immutable _fee;
    uint8 private immutable _size;

    IOperatorCommittee.Verdict private _verdict;
    address[] private _rewarded;

    DisputeId public convened;
    address public prover;
    address public challenger;
    Timestamp public since;

    constructor(IBondVault vault_, address disputeGame_, uint256 fee, uint8 size) {
        vault = vault_;
        disputeGame = disputeGame_;
        _fee = fee;
        _size = size;
    }

    function parameters() external view returns (IOperatorCommittee.Parameters memory p) {
        p.memberFee = _fee;
        p.size = _size;
    }

    function setVerdict(IOperatorCommittee.Verdict verdict, address[] calldata rewarded) external {
        _verdict = verdict;
        _rewarded = rewarded;
    }

    function convene(DisputeId caseId, address prover_, address challenger_, Timestamp since_) external {
        (convened, prover, challenger, since) = (caseId, prover_, challenger_, since_);
    }

    function tally(DisputeId) external view returns (IOperatorCommittee.Verdict, address[] memory) {
        return (_verdict, _rewarded);
    }
}
