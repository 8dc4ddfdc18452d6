// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { BondVault } from "../../contracts/BondVault.sol";
import { ClaimRegistry } from "../../contracts/ClaimRegistry.sol";
import { DisputeGame } from "../../contracts/DisputeGame.sol";
import { ModelRegistry } from "../../contracts/ModelRegistry.sol";
import { SumGame } from "../../contracts/SumGame.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { IBondVault } from "../../contracts/interfaces/IBondVault.sol";
import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { IModelRegistry } from "../../contracts/interfaces/IModelRegistry.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { Clock } from "../../contracts/libraries/Clock.sol";
import { Duration } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { MockAdjudicator, MockCommittee } from "./mocks/GameMocks.sol";
import { TinyModel } from "./mocks/TinyModel.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Every relation that the constructors prove, broken alone.
contract GameConfigurationTest is GameFixture {
    /// @dev A whole deployment; zero addresses stand for the right ones.
    struct Deployment {
        IBondVault claimsVault;
        IModelRegistry claimsModels;
        address claimsGame;
        IBondVault committeeVault;
        address committeeGame;
        address sumsGame;
        bool ofOtherClaims;
        uint256 fee;
        uint8 size;
        IClaimRegistry.Parameters claims;
        IDisputeGame.Parameters game;
        IAdjudicator[] adjudicators;
    }

    function test_sane_deploys() external {
        Deployment memory d = _sane();
        DisputeGame deployed = _deploy(d, "");
        vm.assertEq(keccak256(abi.encode(deployed.parameters())), keccak256(abi.encode(d.game)), "parameters as given");
        vm.assertEq(deployed.adjudicatorOf(TinyModel.PROVABLE), address(adjudicator), "adjudicator");
        vm.assertEq(deployed.adjudicatorOf(TinyModel.VOTED), address(0), "no adjudicator");
    }

    function test_claimsOfAnotherGame_revert() external {
        Deployment memory d = _sane();
        d.claimsGame = ANYONE;
        _deploy(d, "claims obey another game");
    }

    function test_committeeOfAnotherGame_reverts() external {
        Deployment memory d = _sane();
        d.committeeGame = ANYONE;
        _deploy(d, "committee obeys another game");
    }

    function test_sumsOfAnotherGame_revert() external {
        Deployment memory d = _sane();
        d.sumsGame = ANYONE;
        _deploy(d, "sums obey another game");
    }

    function test_sumsOfOtherClaims_revert() external {
        Deployment memory d = _sane();
        d.ofOtherClaims = true;
        _deploy(d, "sums are of other claims");
    }

    function test_claimsWithAnotherVault_revert() external {
        Deployment memory d = _sane();
        d.claimsVault = BondVault(deploy("BondVault", ""));
        _deploy(d, "claims use another vault");
    }

    function test_committeeWithAnotherVault_reverts() external {
        Deployment memory d = _sane();
        d.committeeVault = BondVault(deploy("BondVault", ""));
        _deploy(d, "committee uses another vault");
    }

    function test_claimsWithAnotherModelRegistry_revert() external {
        Deployment memory d = _sane();
        d.claimsModels = ModelRegistry(deploy("ModelRegistry", ""));
        _deploy(d, "claims use another model registry");
    }

    function test_fanOut_bounds() external {
        Deployment memory d = _sane();
        d.game.fanOut = 1;
        _deploy(d, "fan-out is not in 2..64");
        d.game.fanOut = 65;
        _deploy(d, "fan-out is not in 2..64");
        d.game.fanOut = 2;
        _deploy(d, "");
        d.game.fanOut = 64;
        _deploy(d, "");
    }

    function test_proverClock_bounds() external {
        Deployment memory d = _sane();
        d.game.proverClock = Duration.wrap(0);
        _deploy(d, "prover clock is zero or above a year");
        d.game.proverClock = Duration.wrap(Clock.LONGEST + 1);
        _deploy(d, "prover clock is zero or above a year");
    }

    function test_challengerClock_bounds() external {
        Deployment memory d = _sane();
        d.game.challengerClock = Duration.wrap(0);
        _deploy(d, "challenger clock is zero or above a year");
        d.game.challengerClock = Duration.wrap(Clock.LONGEST + 1);
        _deploy(d, "challenger clock is zero or above a year");
    }

    function test_noDemands_revert() external {
        Deployment memory d = _sane();
        d.game.maxDemands = 0;
        _deploy(d, "no demand is allowed");
    }

    function test_burnShare_bounds() external {
        Deployment memory d = _sane();
        d.game.burnShareBps = 0;
        _deploy(d, "burned share is nothing or all");
        d.game.burnShareBps = 10_000;
        _deploy(d, "burned share is nothing or all");
    }

    function test_burnShare_otherThanTheClaims_reverts() external {
        Deployment memory d = _sane();
        d.game.burnShareBps = SHARE_BPS + 1;
        _deploy(d, "burned share is not that of the claims");
    }

    function test_unpaidMembers_revert() external {
        Deployment memory d = _sane();
        d.fee = 0;
        _deploy(d, "members are not paid");
    }

    function test_challengerBond_mustExceedBurnedShareAndFees() external {
        Deployment memory d = _sane();
        // A quarter is burned, so three quarters are left for the fees and one wei for the winner.
        d.game.challengerBond = (uint256(PANEL) * FEE * 4) / 3;
        _deploy(d, "challenger bond does not cover burned share and fees");
        d.game.challengerBond += 1;
        _deploy(d, "");
    }

    function test_proverBond_mustExceedBurnedShareAndFees() external {
        Deployment memory d = _sane();
        d.claims.proverBond = (uint256(PANEL) * FEE * 4) / 3;
        _deploy(d, "prover bond does not cover burned share and fees");
        d.claims.proverBond += 1;
        _deploy(d, "");
    }

    function test_duplicateOperator_reverts() external {
        Deployment memory d = _sane();
        bytes4[] memory operators = new bytes4[](2);
        operators[0] = TinyModel.VOTED;
        operators[1] = TinyModel.PROVABLE;
        IAdjudicator[] memory adjudicators = new IAdjudicator[](2);
        adjudicators[0] = d.adjudicators[0];
        adjudicators[1] = IAdjudicator(address(new MockAdjudicator(operators)));
        d.adjudicators = adjudicators;
        _deployExpecting(d, abi.encodeWithSelector(IDisputeGame.DuplicateOperator.selector, TinyModel.PROVABLE));
    }

    // The claim registry's own relations

    function test_claimRegistry_withInsaneParameters_reverts() external {
        IClaimRegistry.Parameters memory p = claimParameters();
        address predicted = ANYONE;
        _expectClaimsReason("vault has no code");
        deploy("ClaimRegistry", abi.encode(IBondVault(ANYONE), models, predicted, p));
        _expectClaimsReason("model registry has no code");
        deploy("ClaimRegistry", abi.encode(vault, IModelRegistry(ANYONE), predicted, p));
        _expectClaimsReason("dispute game is the zero address");
        deploy("ClaimRegistry", abi.encode(vault, models, address(0), p));
        p.window = Duration.wrap(0);
        _expectClaimsReason("window is zero or above a year");
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
        p.window = Duration.wrap(Clock.LONGEST + 1);
        _expectClaimsReason("window is zero or above a year");
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
        p = claimParameters();
        p.burnShareBps = 10_000;
        _expectClaimsReason("burned share is all");
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
        p.burnShareBps = 0;
        _expectClaimsReason("prover bond burns nothing");
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
        p = claimParameters();
        p.proverBond = 3;
        _expectClaimsReason("prover bond burns nothing");
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
        p.proverBond = 4;
        deploy("ClaimRegistry", abi.encode(vault, models, predicted, p));
    }

    function _expectClaimsReason(string memory reason) private {
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.InvalidConfiguration.selector, reason));
    }

    function _sane() private view returns (Deployment memory d) {
        d.claimsVault = vault;
        d.claimsModels = models;
        d.committeeVault = vault;
        d.fee = FEE;
        d.size = PANEL;
        d.claims = claimParameters();
        d.game = gameParameters();
        d.adjudicators = new IAdjudicator[](1);
        d.adjudicators[0] = IAdjudicator(address(adjudicator));
    }

    function _deploy(Deployment memory d, string memory reason) private returns (DisputeGame) {
        bytes memory revertData = bytes(reason).length == 0
            ? bytes("")
            : abi.encodeWithSelector(IDisputeGame.InvalidConfiguration.selector, reason);
        return _deployExpecting(d, revertData);
    }

    function _deployExpecting(Deployment memory d, bytes memory revertData) private returns (DisputeGame) {
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        address claimsGame = d.claimsGame == address(0) ? predicted : d.claimsGame;
        address committeeGame = d.committeeGame == address(0) ? predicted : d.committeeGame;
        ClaimRegistry registry =
            ClaimRegistry(deploy("ClaimRegistry", abi.encode(d.claimsVault, d.claimsModels, claimsGame, d.claims)));
        IOperatorCommittee panel =
            IOperatorCommittee(address(new MockCommittee(d.committeeVault, committeeGame, d.fee, d.size)));
        address sumsGame = d.sumsGame == address(0) ? predicted : d.sumsGame;
        SumGame ofSums =
            SumGame(deploy("SumGame", abi.encode(IDisputeGame(sumsGame), d.ofOtherClaims ? claims : registry)));
        if (revertData.length > 0) vm.expectRevert(revertData);
        return DisputeGame(
            deploy("DisputeGame", abi.encode(vault, models, registry, panel, ofSums, d.adjudicators, d.game))
        );
    }
}
