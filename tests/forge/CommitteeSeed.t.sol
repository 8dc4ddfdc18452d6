// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { CommitteeFixture } from "./mocks/CommitteeFixture.sol";

/// @dev Where the seed comes from: the BLOCKHASH opcode for 256 blocks, EIP-2935 for 8191, a new seed after.
contract CommitteeSeedTest is CommitteeFixture {
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    /// @dev The runtime code that EIP-2935 prescribes.
    bytes private constant HISTORY_CODE =
        hex"3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500";
    uint256 private constant SEED_BLOCK = 1003;
    bytes32 private constant SEED = keccak256("seed block");

    function setUp() public override {
        super.setUp();
        joinMany(12);
        convene(CASE);
        blocks.etch(HISTORY, HISTORY_CODE);
        blocks.store(HISTORY, bytes32(SEED_BLOCK % 8191), SEED);
    }

    function test_draw_sameHashFromOpcodeAndHistory_samePanel() external {
        uint256 start = vm.snapshotState();
        blocks.roll(SEED_BLOCK + 256);
        blocks.setBlockhash(SEED_BLOCK, SEED);
        committee.draw(CASE);
        bytes32 fromOpcode = keccak256(abi.encode(committee.panelOf(CASE)));
        vm.revertToState(start);
        blocks.roll(SEED_BLOCK + 257);
        committee.draw(CASE);
        vm.assertEq(keccak256(abi.encode(committee.panelOf(CASE))), fromOpcode, "panel");
    }

    function test_draw_lastBlockOfTheHistory_draws() external {
        blocks.roll(SEED_BLOCK + 8191);
        committee.draw(CASE);
        assertStage(CASE, IOperatorCommittee.Stage.Commit);
        vm.assertEq(committee.panelOf(CASE).length, 5, "panel");
    }

    function test_draw_oneBlockLater_announcesAnew() external {
        blocks.roll(SEED_BLOCK + 8192);
        vm.expectEmit();
        emit IOperatorCommittee.CaseAnnounced(CASE, SEED_BLOCK + 8195);
        committee.draw(CASE);
        assertStage(CASE, IOperatorCommittee.Stage.Announced);
        vm.assertEq(committee.pendingDraws(), 1, "still frozen");
        vm.expectRevert(abi.encodeWithSelector(IOperatorCommittee.SeedNotMined.selector, CASE, SEED_BLOCK + 8195));
        committee.draw(CASE);
        vm.assertEq(draw(CASE).length, 5, "panel of the second seed");
        vm.assertEq(committee.pendingDraws(), 0, "released");
    }

    function test_draw_announcedAnew_includesWhoJoinedAndExcludesWhoLeaves() external {
        for (uint256 i = 0; i < 12; ++i) {
            requestLeave(member(i));
        }
        join(STRANGER);
        join(PROVER);
        blocks.roll(SEED_BLOCK + 8192);
        committee.draw(CASE);
        address[] memory panel = draw(CASE);
        vm.assertEq(panel.length, 1, "panel");
        vm.assertEq(panel[0], STRANGER, "the parties stay excluded");
    }

    function test_draw_withoutHistoryContract_after256Blocks_announcesAnew() external {
        blocks.etch(HISTORY, "");
        uint256 start = vm.snapshotState();
        blocks.roll(SEED_BLOCK + 256);
        committee.draw(CASE);
        assertStage(CASE, IOperatorCommittee.Stage.Commit);
        vm.revertToState(start);
        blocks.roll(SEED_BLOCK + 257);
        committee.draw(CASE);
        assertStage(CASE, IOperatorCommittee.Stage.Announced);
        vm.assertEq(committee.seedBlockOf(CASE), SEED_BLOCK + 260, "seed block");
    }

    /// @dev The attack: starve the look-up of gas, so that the hash seems lost and a new seed is announced.
    function test_draw_starvedOfGas_neverDiscardsTheSeed() external {
        blocks.roll(SEED_BLOCK + 300);
        uint256 start = vm.snapshotState();
        uint256 drawn = 0;
        for (uint256 gas = 2000; gas < 600_000; gas += gas < 40_000 ? 97 : 9973) {
            blocks.cool(address(committee));
            blocks.cool(HISTORY);
            (bool done,) = address(committee).call{ gas: gas }(abi.encodeCall(committee.draw, (CASE)));
            vm.assertEq(committee.seedBlockOf(CASE), SEED_BLOCK, "the seed stands");
            if (done) {
                ++drawn;
                assertStage(CASE, IOperatorCommittee.Stage.Commit);
                vm.revertToState(start);
            }
        }
        vm.assertGt(drawn, 5, "with enough gas it draws");
    }
}
