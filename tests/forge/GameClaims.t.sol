// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IModelRegistry } from "../../contracts/interfaces/IModelRegistry.sol";
import { ClaimId, DisputeId, ModelId, RequestId, Timestamp } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev Requests, claims, the window and finality.
contract GameClaimsTest is GameFixture {
    uint256 private constant REWARD = 0.3 ether;

    // Requests

    function test_request_locksTheFee() external {
        bytes32[] memory inputs = TinyModel.state(0);
        RequestId expected = _requestId(REWARD, 7);
        vm.expectEmit();
        emit IClaimRegistry.RequestPosted(expected, modelId, CLIENT, REWARD, inputs);
        RequestId requestId = _request(REWARD, 7);
        vm.assertEq(RequestId.unwrap(requestId), RequestId.unwrap(expected), "id");
        IClaimRegistry.Request memory posted = claims.getRequest(requestId);
        vm.assertEq(posted.client, CLIENT, "client");
        vm.assertEq(posted.fee, REWARD, "fee");
        vm.assertEq(posted.inputRoot, TinyModel.hash(inputs), "inputs");
        vm.assertFalse(posted.closed, "open");
        vm.assertEq(vault.lockedOf(address(claims), RequestId.unwrap(requestId)), REWARD, "lock");
    }

    function test_request_again_revertsUnlessSalted() external {
        RequestId requestId = _request(REWARD, 7);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.DuplicateRequest.selector, requestId));
        _request(REWARD, 7);
        vm.assertTrue(_request(REWARD, 8) != requestId, "another salt, another request");
    }

    function test_request_withAnotherNumberOfInputs_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongValueCount.selector, 1, 2));
        claims.request(modelId, new bytes32[](1), 0);
    }

    function test_request_ofAnUnknownModel_reverts() external {
        ModelId nobodys = ModelId.wrap(keccak256("nothing"));
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, nobodys));
        claims.request(nobodys, new bytes32[](2), 0);
    }

    function test_cancel_returnsTheFeeOnce() external {
        RequestId requestId = _request(REWARD, 0);
        vm.expectEmit();
        emit IClaimRegistry.RequestCancelled(requestId);
        vm.prank(CLIENT);
        claims.cancel(requestId);
        vm.assertEq(vault.creditOf(CLIENT), REWARD, "fee");
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.RequestNotOpen.selector, requestId));
        vm.prank(CLIENT);
        claims.cancel(requestId);
    }

    function test_cancel_ofAFreeRequest_succeeds() external {
        RequestId requestId = _request(0, 0);
        vm.prank(CLIENT);
        claims.cancel(requestId);
        vm.assertTrue(claims.getRequest(requestId).closed, "closed");
    }

    function test_cancel_byAnotherOrOfAnother_reverts() external {
        RequestId requestId = _request(REWARD, 0);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.NotClient.selector, ANYONE, CLIENT));
        vm.prank(ANYONE);
        claims.cancel(requestId);
        RequestId nobodys = RequestId.wrap(keccak256("nothing"));
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.UnknownRequest.selector, nobodys));
        claims.cancel(nobodys);
    }

    function test_cancel_whileServed_reverts() external {
        RequestId requestId = _request(REWARD, 0);
        claimServing(requestId);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.RequestNotOpen.selector, requestId));
        vm.prank(CLIENT);
        claims.cancel(requestId);
    }

    // Claims

    function test_claim_recordsEveryField() external {
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(NODES);
        bytes32 id = keccak256(
            abi.encode(
                keccak256("TAO.claim.v1"),
                block.chainid,
                address(claims),
                modelId,
                NO_REQUEST,
                TinyModel.hash(inputs),
                TinyModel.hash(outputs),
                bytes32(0),
                PROVER
            )
        );
        vm.expectEmit();
        emit IClaimRegistry.Claimed(ClaimId.wrap(id), modelId, PROVER, NO_REQUEST, inputs, outputs, bytes32(0));
        ClaimId claimId = claim();
        vm.assertEq(ClaimId.unwrap(claimId), id, "id");
        IClaimRegistry.Claim memory made = claims.getClaim(claimId);
        vm.assertEq(made.prover, PROVER, "prover");
        vm.assertEq(made.inputRoot, TinyModel.hash(inputs), "input root");
        vm.assertEq(made.outputRoot, TinyModel.hash(outputs), "output root");
        vm.assertEq(uint256(Timestamp.unwrap(made.claimedAt)), START, "claimed at");
        vm.assertEq(uint256(Timestamp.unwrap(claims.windowEnd(claimId))), START + WINDOW, "window end");
        vm.assertEq(vault.lockedOf(address(claims), id), P, "bond");
        assertStatus(claimId, IClaimRegistry.Status.Pending);
    }

    function test_standing_isTheClaimsOwn_beforeAndAfterItsRefutation() external {
        ClaimId claimId = claim();
        _assertStanding(claimId, false);
        _refute(claimId);
        _assertStanding(claimId, true);
    }

    function test_claim_withAnotherBond_reverts() external {
        uint256[2] memory bonds = [P - 1, P + 1];
        vm.deal(address(this), 20 ether);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongBond.selector, bonds[i], P));
            claims.claim{ value: bonds[i] }(modelId, NO_REQUEST, new bytes32[](2), new bytes32[](2), bytes32(0));
        }
    }

    function test_claim_withOtherCounts_reverts() external {
        vm.deal(address(this), 20 ether);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongValueCount.selector, 3, 2));
        claims.claim{ value: P }(modelId, NO_REQUEST, new bytes32[](3), new bytes32[](2), bytes32(0));
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongValueCount.selector, 1, 2));
        claims.claim{ value: P }(modelId, NO_REQUEST, new bytes32[](2), new bytes32[](1), bytes32(0));
    }

    function test_claim_again_reverts() external {
        ClaimId claimId = claim();
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.DuplicateClaim.selector, claimId));
        claim();
    }

    function test_claim_againAfterRefutation_reverts() external {
        ClaimId claimId = claim();
        _refute(claimId);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.DuplicateClaim.selector, claimId));
        claim();
    }

    function test_claim_ofAServedRequest_reverts() external {
        RequestId requestId = _request(REWARD, 0);
        claimServing(requestId);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.RequestNotOpen.selector, requestId));
        _claimBy(RIVAL, requestId);
    }

    function test_claim_ofAnUnknownRequest_reverts() external {
        RequestId nobodys = RequestId.wrap(keccak256("nothing"));
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.UnknownRequest.selector, nobodys));
        claimServing(nobodys);
    }

    function test_claim_ofAnotherRequestsModelOrInputs_reverts() external {
        RequestId requestId = _request(REWARD, 0);
        bytes memory reason = abi.encodeWithSelector(IClaimRegistry.RequestMismatch.selector, requestId);
        bytes32[] memory others = TinyModel.state(1);
        vm.expectRevert(reason);
        vm.prank(PROVER);
        claims.claim{ value: P }(modelId, requestId, others, others, bytes32(0));
        useOneOperator(TinyModel.step(TinyModel.PROVABLE, 0));
        vm.expectRevert(reason);
        claimServing(requestId);
    }

    // Finality

    function test_finalise_afterTheWindow_paysBondAndFee() external {
        RequestId requestId = _request(REWARD, 0);
        ClaimId claimId = claimServing(requestId);
        for (uint256 i = 0; i < 2; ++i) {
            vm.warp(START + WINDOW - 1 + i);
            vm.expectRevert(_notFinalisable(claimId, IClaimRegistry.Status.Pending));
            claims.finalise(claimId);
        }
        vm.warp(START + WINDOW + 1);
        assertStatus(claimId, IClaimRegistry.Status.Finalisable);
        vm.expectEmit();
        emit IClaimRegistry.ClaimFinalised(claimId);
        vm.prank(ANYONE);
        claims.finalise(claimId);
        assertStatus(claimId, IClaimRegistry.Status.Finalised);
        vm.assertEq(vault.creditOf(PROVER), P + REWARD, "bond and fee");
        vm.assertEq(vault.totalLocked(), 0, "nothing stays locked");
        vm.assertTrue(claims.getRequest(requestId).closed, "request closed");
        vm.expectRevert(_notFinalisable(claimId, IClaimRegistry.Status.Finalised));
        claims.finalise(claimId);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.RequestNotOpen.selector, requestId));
        _claimBy(RIVAL, requestId);
    }

    function test_finalise_withADisputeOpen_waitsForItsEnd() external {
        ClaimId claimId = claim();
        vm.warp(START + WINDOW);
        DisputeId id = openBy(claimId, CHALLENGER);
        reveal(id);
        warpPastDeadline(id);
        vm.expectRevert(_notFinalisable(claimId, IClaimRegistry.Status.Disputed));
        claims.finalise(claimId);
        game.timeout(id);
        claims.finalise(claimId);
        vm.assertEq(vault.creditOf(PROVER), P + C - C_BURNED, "bond and the lost challenge");
    }

    function test_finalise_ofARefutedOrUnknownClaim_reverts() external {
        ClaimId claimId = claim();
        _refute(claimId);
        vm.warp(START + 2 * WINDOW);
        vm.expectRevert(_notFinalisable(claimId, IClaimRegistry.Status.Refuted));
        claims.finalise(claimId);
        ClaimId nobodys = ClaimId.wrap(keccak256("nothing"));
        vm.expectRevert(_notFinalisable(nobodys, IClaimRegistry.Status.Unknown));
        claims.finalise(nobodys);
    }

    function test_refutation_opensTheRequestAgain() external {
        RequestId requestId = _request(REWARD, 0);
        ClaimId claimId = claimServing(requestId);
        vm.assertEq(ClaimId.unwrap(claims.getRequest(requestId).activeClaim), ClaimId.unwrap(claimId), "served by it");
        _refute(claimId);
        vm.assertEq(ClaimId.unwrap(claims.getRequest(requestId).activeClaim), 0, "open again");
        ClaimId second = _claimBy(RIVAL, requestId);
        vm.warp(vm.getBlockTimestamp() + WINDOW + 1);
        claims.finalise(second);
        vm.assertEq(vault.creditOf(RIVAL), P + REWARD, "the honest one is paid");
    }

    // The dispute game's entries

    function test_disputeEntries_byAnyoneElse_revert() external {
        ClaimId claimId = claim();
        bytes memory reason = abi.encodeWithSelector(IClaimRegistry.NotDisputeGame.selector, ANYONE);
        vm.expectRevert(reason);
        vm.prank(ANYONE);
        claims.disputeOpened(claimId);
        vm.expectRevert(reason);
        vm.prank(ANYONE);
        claims.disputeClosed(claimId);
        vm.expectRevert(reason);
        vm.prank(ANYONE);
        claims.refute(claimId, ANYONE, new address[](0), 0);
    }

    function test_disputeOpened_ofAFinalisedOrRefutedClaim_reverts() external {
        ClaimId claimId = claim();
        _refute(claimId);
        vm.expectRevert(
            abi.encodeWithSelector(IClaimRegistry.NotChallengeable.selector, claimId, IClaimRegistry.Status.Refuted)
        );
        vm.prank(address(game));
        claims.disputeOpened(claimId);
        ClaimId second = _claimBy(RIVAL, NO_REQUEST);
        vm.warp(vm.getBlockTimestamp() + WINDOW + 1);
        claims.finalise(second);
        vm.expectRevert(
            abi.encodeWithSelector(IClaimRegistry.NotChallengeable.selector, second, IClaimRegistry.Status.Finalised)
        );
        vm.prank(address(game));
        claims.disputeOpened(second);
    }

    function test_refute_twice_reverts() external {
        ClaimId claimId = claim();
        _refute(claimId);
        vm.expectRevert(
            abi.encodeWithSelector(IClaimRegistry.NotChallengeable.selector, claimId, IClaimRegistry.Status.Refuted)
        );
        vm.prank(address(game));
        claims.refute(claimId, CHALLENGER, new address[](0), 0);
    }

    function test_views_ofUnknownIds() external {
        ClaimId claimId = ClaimId.wrap(keccak256("nothing"));
        RequestId requestId = RequestId.wrap(keccak256("nothing"));
        assertStatus(claimId, IClaimRegistry.Status.Unknown);
        bytes memory unknownClaim = abi.encodeWithSelector(IClaimRegistry.UnknownClaim.selector, claimId);
        vm.expectRevert(unknownClaim);
        claims.getClaim(claimId);
        vm.expectRevert(unknownClaim);
        claims.standingOf(claimId);
        vm.expectRevert(unknownClaim);
        claims.windowEnd(claimId);
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.UnknownRequest.selector, requestId));
        claims.getRequest(requestId);
    }

    function _assertStanding(ClaimId claimId, bool refuted) private {
        IClaimRegistry.Claim memory made = claims.getClaim(claimId);
        IClaimRegistry.Standing memory standing = claims.standingOf(claimId);
        vm.assertEq(ModelId.unwrap(standing.modelId), ModelId.unwrap(made.modelId), "model");
        vm.assertEq(standing.prover, PROVER, "prover");
        vm.assertEq(uint256(Timestamp.unwrap(standing.claimedAt)), START, "claimed at");
        vm.assertTrue(standing.refuted == refuted, "refuted");
    }

    function _request(uint256 fee, uint256 salt) private returns (RequestId) {
        bytes32[] memory inputs = TinyModel.state(0);
        vm.prank(CLIENT);
        return claims.request{ value: fee }(modelId, inputs, salt);
    }

    function _requestId(uint256 fee, uint256 salt) private view returns (RequestId) {
        return RequestId.wrap(
            keccak256(
                abi.encode(
                    keccak256("TAO.request.v1"),
                    block.chainid,
                    address(claims),
                    modelId,
                    TinyModel.hash(TinyModel.state(0)),
                    CLIENT,
                    fee,
                    salt
                )
            )
        );
    }

    function _claimBy(address prover, RequestId requestId) private returns (ClaimId) {
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(NODES);
        vm.prank(prover);
        return claims.claim{ value: P }(modelId, requestId, inputs, outputs, bytes32(0));
    }

    function _refute(ClaimId claimId) private {
        DisputeId id = openBy(claimId, CHALLENGER);
        warpPastDeadline(id);
        game.timeout(id);
        assertStatus(claimId, IClaimRegistry.Status.Refuted);
    }

    function _notFinalisable(ClaimId claimId, IClaimRegistry.Status status) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IClaimRegistry.NotFinalisable.selector, claimId, status);
    }
}
