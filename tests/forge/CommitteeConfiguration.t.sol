// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { OperatorCommittee } from "../../contracts/OperatorCommittee.sol";
import { IBondVault } from "../../contracts/interfaces/IBondVault.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { Duration } from "../../contracts/types/Types.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";
import { deploy } from "./support/Deploy.sol";

contract CommitteeConfigurationTest is CommitteeFixture {
    Duration private constant YEAR = Duration.wrap(365 days);
    Duration private constant LONGER = Duration.wrap(365 days + 1);
    Duration private constant NOTHING = Duration.wrap(0);

    function test_constructor_standard_isKept() external view {
        IOperatorCommittee.Parameters memory kept = committee.parameters();
        vm.assertEq(keccak256(abi.encode(kept)), keccak256(abi.encode(standard())), "parameters");
        vm.assertEq(address(committee.vault()), address(vault), "vault");
        vm.assertEq(committee.disputeGame(), GAME, "game");
    }

    function test_constructor_extremes_succeed() external {
        IOperatorCommittee.Parameters memory p = standard();
        (p.size, p.quorum, p.minorityMargin, p.seedDelay) = (1, 1, 1, 1);
        (p.commitPeriod, p.revealPeriod, p.leaveDelay) = (YEAR, YEAR, YEAR);
        deploy("OperatorCommittee", abi.encode(vault, GAME, p));
        (p.size, p.quorum, p.minorityMargin, p.seedDelay) = (31, 16, 31, 256);
        (p.stake, p.memberFee, p.noShowPenalty, p.minorityPenalty) = (1, 0, 1, 1);
        deploy("OperatorCommittee", abi.encode(vault, GAME, p));
    }

    function test_runtimeCode_fitsTheLimit() external view {
        vm.assertLt(address(committee).code.length, 24_576, "EIP-170");
    }

    function test_constructor_vaultWithoutCode_reverts() external {
        _expect("vault has no code");
        deploy("OperatorCommittee", abi.encode(IBondVault(STRANGER), GAME, standard()));
    }

    function test_constructor_noGame_reverts() external {
        _expect("no dispute game");
        deploy("OperatorCommittee", abi.encode(vault, address(0), standard()));
    }

    function test_constructor_size_reverts() external {
        IOperatorCommittee.Parameters memory p = standard();
        uint8[4] memory sizes = [0, 4, 32, 33];
        for (uint256 i = 0; i < sizes.length; ++i) {
            p.size = sizes[i];
            _refuse(p, "size must be odd and at most 31");
        }
    }

    function test_constructor_quorum_reverts() external {
        IOperatorCommittee.Parameters memory p = standard();
        p.quorum = 2;
        _refuse(p, "quorum must exceed half of size");
        p.quorum = 6;
        _refuse(p, "quorum exceeds size");
    }

    function test_constructor_minorityMargin_reverts() external {
        IOperatorCommittee.Parameters memory p = standard();
        p.minorityMargin = 0;
        _refuse(p, "minorityMargin is zero");
        p.minorityMargin = 6;
        _refuse(p, "minorityMargin exceeds size");
    }

    function test_constructor_amounts_revert() external {
        IOperatorCommittee.Parameters memory p = standard();
        p.noShowPenalty = p.stake + 1;
        _refuse(p, "noShowPenalty exceeds stake");
        p.noShowPenalty = p.stake;
        p.minorityPenalty = p.stake + 1;
        _refuse(p, "minorityPenalty exceeds noShowPenalty");
        (p.noShowPenalty, p.minorityPenalty) = (0, 0);
        _refuse(p, "noShowPenalty is zero");
        p = standard();
        p.memberFee = p.stake;
        _refuse(p, "memberFee must be below stake");
    }

    function test_constructor_seedDelay_reverts() external {
        IOperatorCommittee.Parameters memory p = standard();
        p.seedDelay = 0;
        _refuse(p, "seedDelay is zero");
        p.seedDelay = 257;
        _refuse(p, "seedDelay exceeds 256");
    }

    function test_constructor_periods_revert() external {
        IOperatorCommittee.Parameters memory p = standard();
        for (uint256 i = 0; i < 2; ++i) {
            Duration wrong = i == 0 ? NOTHING : LONGER;
            p = standard();
            p.commitPeriod = wrong;
            _refuse(p, "commitPeriod is zero or above a year");
            p = standard();
            p.revealPeriod = wrong;
            _refuse(p, "revealPeriod is zero or above a year");
            p = standard();
            p.leaveDelay = wrong;
            _refuse(p, "leaveDelay is zero or above a year");
        }
    }

    function _refuse(IOperatorCommittee.Parameters memory p, string memory reason) private {
        _expect(reason);
        deploy("OperatorCommittee", abi.encode(vault, GAME, p));
    }

    function _expect(string memory reason) private {
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.InvalidConfiguration.selector, reason));
    }
}
