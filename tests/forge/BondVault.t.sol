// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { BondVault } from "../../contracts/BondVault.sol";
import { IBondVault } from "../../contracts/interfaces/IBondVault.sol";
import { Cheats } from "./mocks/Cheats.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Takes its credit and, on being paid, tries to take it again.
contract ReenteringReceiver {
    IBondVault private immutable _vault;
    bytes public refusal;

    constructor(IBondVault vault) {
        _vault = vault;
    }

    function take() external {
        _vault.withdraw(payable(address(this)));
    }

    receive() external payable {
        try _vault.withdraw(payable(address(this))) { }
        catch (bytes memory reason) {
            refusal = reason;
        }
    }
}

contract RejectingReceiver { }

contract BondVaultTest is Cheats {
    BondVault private _vault;
    address private constant WINNER = address(0xA11CE);
    bytes32 private constant ID = keccak256("lock");

    function setUp() external {
        _vault = BondVault(deploy("BondVault", ""));
        vm.deal(address(this), 100 ether);
    }

    function test_lock_addsUp() external {
        vm.expectEmit();
        emit IBondVault.Locked(address(this), ID, 2 ether);
        _vault.lock{ value: 2 ether }(ID);
        _vault.lock{ value: 1 ether }(ID);
        vm.assertEq(_vault.lockedOf(address(this), ID), 3 ether, "lock");
        vm.assertEq(_vault.totalLocked(), 3 ether, "total");
    }

    function test_lock_ofNothing_reverts() external {
        vm.expectRevert(IBondVault.EmptyTransfer.selector);
        _vault.lock(ID);
    }

    function test_credit_movesFromLockToAccount() external {
        _vault.lock{ value: 3 ether }(ID);
        vm.expectEmit();
        emit IBondVault.Credited(address(this), ID, WINNER, 1 ether);
        _vault.credit(ID, WINNER, 1 ether);
        vm.assertEq(_vault.lockedOf(address(this), ID), 2 ether, "lock");
        vm.assertEq(_vault.creditOf(WINNER), 1 ether, "credit");
        vm.assertEq(WINNER.balance, 0, "nothing is pushed");
    }

    function test_credit_ofNothingOrToNobody_reverts() external {
        _vault.lock{ value: 1 ether }(ID);
        vm.expectRevert(IBondVault.EmptyTransfer.selector);
        _vault.credit(ID, WINNER, 0);
        vm.expectRevert(IBondVault.EmptyTransfer.selector);
        _vault.credit(ID, address(0), 1 ether);
    }

    function testFuzz_release_aboveTheLock_reverts(uint256 held, uint256 asked) external {
        held = bound(held, 1, 10 ether);
        asked = bound(asked, held + 1, type(uint256).max);
        _vault.lock{ value: held }(ID);
        bytes memory reason =
            abi.encodeWithSelector(IBondVault.InsufficientLock.selector, address(this), ID, held, asked);
        vm.expectRevert(reason);
        _vault.credit(ID, WINNER, asked);
        vm.expectRevert(reason);
        _vault.burn(ID, asked);
    }

    function test_release_ofAnotherControllersLock_reverts() external {
        _vault.lock{ value: 1 ether }(ID);
        vm.prank(WINNER);
        vm.expectRevert(abi.encodeWithSelector(IBondVault.InsufficientLock.selector, WINNER, ID, 0, 1 ether));
        _vault.credit(ID, WINNER, 1 ether);
    }

    function test_burn_putsEtherOutOfReach() external {
        _vault.lock{ value: 1 ether }(ID);
        vm.expectEmit();
        emit IBondVault.Burned(address(this), ID, 1 ether);
        _vault.burn(ID, 1 ether);
        vm.assertEq(_vault.totalBurned(), 1 ether, "burned");
        vm.assertEq(_vault.totalLocked(), 0, "locked");
        vm.assertEq(address(_vault).balance, 1 ether, "stays in the vault");
    }

    function test_withdraw_paysTheWholeCreditOnce() external {
        _vault.lock{ value: 1 ether }(ID);
        _vault.credit(ID, WINNER, 1 ether);
        address payable recipient = payable(address(0xB0B));
        vm.prank(WINNER);
        uint256 amount = _vault.withdraw(recipient);
        vm.assertEq(amount, 1 ether, "amount");
        vm.assertEq(recipient.balance, 1 ether, "received");
        vm.prank(WINNER);
        vm.expectRevert(abi.encodeWithSelector(IBondVault.NothingToWithdraw.selector, WINNER));
        _vault.withdraw(recipient);
    }

    function test_withdraw_toARejectingRecipient_keepsTheCredit() external {
        _vault.lock{ value: 1 ether }(ID);
        _vault.credit(ID, WINNER, 1 ether);
        address rejecting = address(new RejectingReceiver());
        vm.prank(WINNER);
        vm.expectRevert(abi.encodeWithSelector(IBondVault.TransferFailed.selector, rejecting, 1 ether));
        _vault.withdraw(payable(rejecting));
        vm.assertEq(_vault.creditOf(WINNER), 1 ether, "credit untouched");
        vm.prank(WINNER);
        _vault.withdraw(payable(WINNER));
        vm.assertEq(WINNER.balance, 1 ether, "paid to another recipient");
    }

    function test_withdraw_enteredAgain_findsNothing() external {
        ReenteringReceiver thief = new ReenteringReceiver(_vault);
        _vault.lock{ value: 3 ether }(ID);
        _vault.credit(ID, address(thief), 1 ether);
        thief.take();
        vm.assertEq(address(thief).balance, 1 ether, "its own credit only");
        vm.assertEq(
            keccak256(thief.refusal()),
            keccak256(abi.encodeWithSelector(IBondVault.NothingToWithdraw.selector, address(thief))),
            "the second entry was refused"
        );
    }
}

/// @dev Random use of the vault by three controllers and three accounts.
contract VaultHandler is Cheats {
    BondVault public immutable vault;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public locks;
    uint256 public releases;

    constructor(BondVault vault_) {
        vault = vault_;
    }

    function lock(uint256 who, uint256 id, uint256 amount) external {
        amount = bound(amount, 1, 1 ether);
        address controller = _controller(who);
        vm.deal(controller, amount);
        vm.prank(controller);
        vault.lock{ value: amount }(_id(id));
        deposited += amount;
        ++locks;
    }

    function credit(uint256 which, uint256 to, uint256 amount) external {
        (address controller, bytes32 id, uint256 share) = _share(which, amount);
        vm.prank(controller);
        vault.credit(id, _account(to), share);
        ++releases;
    }

    function burn(uint256 which, uint256 amount) external {
        (address controller, bytes32 id, uint256 share) = _share(which, amount);
        vm.prank(controller);
        vault.burn(id, share);
        ++releases;
    }

    function withdraw(uint256 who) external {
        address account = _account(who);
        vm.prank(account);
        withdrawn += vault.withdraw(payable(account));
    }

    function sumOfLocks() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 9; ++i) {
            sum += vault.lockedOf(_controller(i / 3), _id(i % 3));
        }
    }

    function sumOfCredits() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; ++i) {
            sum += vault.creditOf(_account(i));
        }
    }

    /// @dev Some lock that holds something, where there is one; one time in eight it is asked for too much.
    function _share(uint256 which, uint256 amount)
        private
        view
        returns (address controller, bytes32 id, uint256 share)
    {
        uint256 held;
        for (uint256 i = 0; i < 9 && held == 0; ++i) {
            uint256 lock_ = (which % 9 + i) % 9;
            (controller, id) = (_controller(lock_ / 3), _id(lock_ % 3));
            held = vault.lockedOf(controller, id);
        }
        share = amount % 8 == 0 || held == 0 ? held + 1 : bound(amount, 1, held);
    }

    function _controller(uint256 index) private pure returns (address) {
        return address(uint160(0xC000 + index % 3));
    }

    function _account(uint256 index) private pure returns (address) {
        return address(uint160(0xACC000 + index % 3));
    }

    function _id(uint256 index) private pure returns (bytes32) {
        return bytes32(index % 3);
    }
}

contract BondVaultInvariants is Cheats {
    BondVault private _vault;
    VaultHandler private _handler;

    function setUp() external {
        _vault = BondVault(deploy("BondVault", ""));
        _handler = new VaultHandler(_vault);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_etherIsConserved() external view {
        uint256 accounted = _vault.totalLocked() + _vault.totalCredited() + _vault.totalBurned();
        vm.assertEq(accounted, _handler.deposited() - _handler.withdrawn(), "accounted = deposited - withdrawn");
        vm.assertEq(address(_vault).balance, accounted, "balance");
    }

    function invariant_totalsAreTheSumsOfTheirParts() external view {
        vm.assertEq(_vault.totalLocked(), _handler.sumOfLocks(), "locks");
        vm.assertEq(_vault.totalCredited(), _handler.sumOfCredits(), "credits");
    }

    /// @dev A run whose calls nearly all revert would show nothing.
    function afterInvariant() external view {
        vm.assertGe(_handler.locks(), 2, "locks succeeded");
        vm.assertGe(_handler.releases(), 8, "releases succeeded");
    }
}
