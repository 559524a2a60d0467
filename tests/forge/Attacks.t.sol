// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {PrintLicense} from "../../contracts/PrintLicense.sol";
import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {ContractOwner, DeafReceiver, ReentrantReceiver} from "./support/Receivers.sol";
import {Scene} from "./support/Scene.sol";
import {Signatures} from "./support/Signatures.sol";
import {Vm, vm} from "./support/Vm.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice Whole stories: attacks by name, and the defects of the published ancestor (SAMPL's license store).
contract AttacksTest is Scene {
    // --- attacks -----------------------------------------------------------------------------------------

    /// @dev Who vouches for devices has no right to print, not even with its own device.
    function test_attack_attestorConsumes() public {
        uint256 id = _issue(TRUSTED_DEVICE, 3, 2);
        _trust(device);
        vm.prank(attestor);
        devices.attest(attestor, "myself");
        vm.prank(attestor);
        devices.presentAttestor(attestor, attestor, true);
        _true(devices.isTrusted(attestor, owner), "trusted");
        _refusedUse(attestor, id, abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, attestor));
        _bind(attestor, STRANGER_KEY);
        _refusedUse(stranger, id, abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, stranger));
    }

    /// @dev After control was handed over, the old key can no longer vouch through its own attestors.
    function test_attack_oldOwnerKeyKeepsTrusting() public {
        uint256 id = _issue(TRUSTED_DEVICE, 3, 2);
        vm.prank(owner);
        licenses.offerControl(owner, buyer);
        vm.prank(buyer);
        licenses.acceptControl(owner);
        vm.prank(owner);
        devices.acceptAttestor(stranger, true);
        vm.prank(stranger);
        devices.attest(wallet, "mine");
        vm.prank(wallet);
        devices.presentAttestor(wallet, stranger, true);
        _refusedUse(wallet, id, abi.encodeWithSelector(IPrintLicense.DeviceNotTrusted.selector, id, wallet));
        vm.prank(buyer);
        devices.acceptAttestor(stranger, true);
        _print(wallet, id);
        _equal(licenses.licenseOf(id).used, 1, "who controls the owner decides whom she trusts");
    }

    /// @dev Even a batch of nothing goes to somebody.
    function test_attack_emptyBatchToNobody() public {
        uint256[] memory none = new uint256[](0);
        bytes memory call = abi.encodeCall(licenses.safeBatchTransferFrom, (stranger, address(0), none, none, ""));
        _refused(stranger, call, abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(0)));
    }

    function test_attack_unknownLicenseAskedByNobody() public view {
        (bool usable, bytes4 reason) = licenses.canUse(_id(77), FILE, address(0));
        _true(!usable && reason == IPrintLicense.LicenseNotFound.selector, "there is no such license");
    }

    function test_attack_failureReportedTwice() public {
        uint256 id = _issue(0, 3, 2);
        _print(wallet, id);
        _fail(wallet, id, 1);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.CopyNotRefundable.selector, id, 1);
        _refused(wallet, abi.encodeCall(licenses.reportFailure, (id, 1, 0)), error_);
        _refused(device, abi.encodeCall(licenses.reportFailure, (id, 1, 0)), error_);
        _skipped(_sign(DEVICE_KEY, _failure(id, 1)), IPrintLicense.CopyNotRefundable.selector);
        _print(wallet, id);
        _refused(wallet, abi.encodeCall(licenses.reportFailure, (id, 1, 0)), error_);
        _equal(licenses.balanceOf(wallet, id), 2, "copies left");
    }

    /// @dev However often a print "fails", a license makes at most copies + failuresAllowed parts.
    function test_attack_reprintBeyondFreeFailures() public {
        uint256 id = _issue(0, 3, 2);
        uint256 prints;
        while (licenses.balanceOf(wallet, id) != 0) {
            _print(wallet, id);
            ++prints;
            vm.prank(wallet);
            try licenses.reportFailure(id, prints, 0) {} catch {}
        }
        _equal(prints, 5, "prints");
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NoFreeFailureLeft.selector, id);
        _refused(wallet, abi.encodeCall(licenses.reportFailure, (id, prints, 0)), error_);
        _refusedUse(wallet, id, abi.encodeWithSelector(IPrintLicense.LicenseExhausted.selector, id));
    }

    function test_attack_revokeThenFailThenUse() public {
        uint256 id = _issue(REVOCABLE, 3, 2);
        _print(wallet, id);
        IPrintLicense.SignedUse memory signedBefore = _sign(DEVICE_KEY, _use(id, 2));
        vm.prank(owner);
        licenses.revoke(id);
        _fail(wallet, id, 1);
        _equal(licenses.licenseOf(id).failed, 1, "counted");
        _equal(licenses.balanceOf(wallet, id), 0, "forfeited");
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseIsRevoked.selector, id);
        _refusedUse(wallet, id, error_);
        _skipped(signedBefore, IPrintLicense.LicenseIsRevoked.selector);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, 1, 1)), error_);
        _equal(licenses.licenseOf(id).used, 1, "used");
    }

    /// @dev Every counter of the word at its end, one after the other, and no neighbour moves.
    function test_attack_countersAtTheirMaxima() public {
        IPrintLicense.Order memory order = _order();
        (order.copies, order.failuresAllowed, order.flags) = (65_472, 63, 7);
        order.validUntil = type(uint32).max;
        _trust(device);
        vm.prank(owner);
        uint256 id = licenses.issue(order);
        _refusedGrant(id, 1, 65_536);
        IPrintLicense.License memory it = licenses.licenseOf(id);
        // 65,470 prints later.
        (it.remaining, it.used) = (2, 65_470);
        _put(it);
        for (uint256 i = 0; i < 63; ++i) {
            _print(device, id);
            _fail(device, id, 65_471 + i);
        }
        _refusedGrant(id, 1, 65_536);
        _print(device, id);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NoFreeFailureLeft.selector, id);
        _refused(device, abi.encodeCall(licenses.reportFailure, (id, 65_534, 0)), error_);
        _print(device, id);
        _refusedUse(device, id, abi.encodeWithSelector(IPrintLicense.LicenseExhausted.selector, id));
        (it.remaining, it.used, it.failed, it.failedWindow) = (0, 65_535, 63, 0xfffc);
        _is(id, it);
        _refusedGrant(id, 1, 65_536);
    }

    function test_attack_buyerScrapsTheSellersParts() public {
        uint256 id = _issue(TRANSFERABLE, 20, 10);
        for (uint256 i = 0; i < 12; ++i) {
            _print(wallet, id);
        }
        _call(wallet, abi.encodeCall(licenses.transferLicense, (id, buyer)));
        for (uint256 copy = 1; copy <= 12; ++copy) {
            bytes memory error_ = abi.encodeWithSelector(IPrintLicense.CopyNotRefundable.selector, id, copy);
            _refused(buyer, abi.encodeCall(licenses.reportFailure, (id, copy, 0)), error_);
            error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, wallet);
            _refused(wallet, abi.encodeCall(licenses.reportFailure, (id, copy, 0)), error_);
        }
        // What the buyer prints can fail.
        _print(buyer, id);
        _fail(buyer, id, 13);
        _equal(licenses.balanceOf(buyer, id), 8, "copies left");
    }

    /// @dev After a sale the seller's device, and what it signed before, print nothing.
    function test_attack_sellerPrintsAfterTheSale() public {
        uint256 id = _issue(TRANSFERABLE, 3, 2);
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, 1));
        _call(wallet, abi.encodeCall(licenses.transferLicense, (id, buyer)));
        _skipped(use, IPrintLicense.NotThePrinter.selector);
        _refusedUse(device, id, abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, device));
    }

    /// @dev Issuing calls nobody, so no printer wallet can block the licenses of the others.
    function test_attack_batchBlockedByAReceiver() public {
        IPrintLicense.Order[] memory orders = new IPrintLicense.Order[](2);
        (orders[0], orders[1]) = (_order(), _order());
        orders[0].printer = address(new DeafReceiver());
        orders[1].number = 2;
        _call(owner, abi.encodeCall(licenses.issueBatch, (orders)));
        _equal(licenses.balanceOf(orders[0].printer, _id(1)), 3, "of the deaf one");
        _equal(licenses.balanceOf(wallet, _id(2)), 3, "of the other");
    }

    function test_attack_voucherRedeemedTwice() public {
        IPrintLicense.Order memory order = _order();
        order.owner = address(new ContractOwner(owner));
        bytes memory signature = _sign(OWNER_KEY, order);
        _call(stranger, abi.encodeCall(licenses.redeem, (order, signature)));
        uint256 id = _idOf(order.owner, 1);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseExists.selector, id);
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, signature)), error_);
        // The same consent in other bytes, which a contract may accept, and after the last copy.
        bytes memory otherBytes = bytes.concat("padding", signature);
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, otherBytes)), error_);
        for (uint256 i = 0; i < 3; ++i) {
            _print(wallet, id);
        }
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, otherBytes)), error_);
    }

    function testFuzz_attack_reentrantReceiver(uint256 path) public {
        uint256 id = _issue(TRANSFERABLE, 3, 2);
        ReentrantReceiver thief = new ReentrantReceiver(licenses, FILE, buyer);
        // Worst case: the seller had approved the receiver for everything.
        vm.prank(wallet);
        licenses.setApprovalForAll(address(thief), true);
        uint256[] memory ids = new uint256[](1);
        uint256[] memory values = new uint256[](1);
        (ids[0], values[0]) = (id, 3);
        vm.recordLogs();
        vm.prank(wallet);
        if (path % 3 == 0) licenses.transferLicense(id, address(thief));
        if (path % 3 == 1) licenses.safeTransferFrom(wallet, address(thief), id, 3, "");
        if (path % 3 == 2) licenses.safeBatchTransferFrom(wallet, address(thief), ids, values, "");
        _true(!thief.tookAgain(), "taken from the seller again");
        _true(thief.printed(), "the license is the receiver's when it is told");
        IPrintLicense.License memory it = licenses.licenseOf(id);
        _equal(it.printer, buyer, "printer");
        _equal(uint256(it.used) + it.remaining, 3, "copies");
        _isLedgerInOrder(vm.getRecordedLogs(), path % 3 == 2);
    }

    /// @dev A relayer's copy of a direct call, or a second relayer, gains nothing and costs nobody a copy.
    function test_attack_frontRunning() public {
        uint256 id = _issue(0, 3, 2);
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, 1));
        _relay(use);
        _skipped(use, IPrintLicense.CopyOutOfOrder.selector);
        // The device lost sight of its relayed use and repeats it directly: the same print, not a second one.
        bytes memory again = abi.encodeCall(licenses.useLicenseAndLog, (id, FILE, 1, 0, 0, 0));
        _refused(device, again, abi.encodeWithSelector(IPrintLicense.CopyOutOfOrder.selector, id, 1, 2));
        _equal(licenses.balanceOf(wallet, id), 2, "copies left");
        // A stranger who copies the call data of the owner's order gets nothing.
        IPrintLicense.Order memory order = _order();
        order.number = 2;
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, stranger, 1);
        _refused(stranger, abi.encodeCall(licenses.issue, (order)), error_);
    }

    /// @dev A signature for one instance of the contracts is nothing to another one, nor to another chain.
    function test_attack_wrongDomain() public {
        PrintLicense other = new PrintLicense(devices);
        uint256 id = _issue(0, 3, 2);
        vm.prank(owner);
        other.issue(_order());
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, 1));
        IPrintLicense.SignedUse[] memory uses = new IPrintLicense.SignedUse[](1);
        uses[0] = use;
        other.useLicensesSigned(uses);
        _equal(other.balanceOf(wallet, id), 3, "copies elsewhere");
        uint256 here = vm.getChainId();
        vm.chainId(here + 1);
        _relay(use);
        _equal(licenses.balanceOf(wallet, id), 3, "copies on a fork");
        vm.chainId(here);
        _relay(use);
        _equal(licenses.balanceOf(wallet, id), 2, "copies");
    }

    // --- the eight defects of SAMPL's license store ------------------------------------------------------

    function test_sampl1_exhaustedLicenseReverts() public {
        uint256 id = _issue(0, 1, 0);
        _print(wallet, id);
        _refusedUse(wallet, id, abi.encodeWithSelector(IPrintLicense.LicenseExhausted.selector, id));
    }

    function test_sampl2_hashZeroDoesNotSkipTheCheck() public {
        uint256 id = _issue(0, 1, 0);
        _refused(
            wallet,
            abi.encodeCall(licenses.useLicense, (id, 0)),
            abi.encodeWithSelector(IPrintLicense.FileHashIsZero.selector, id)
        );
    }

    function test_sampl3_unknownIdHasNoHash() public view {
        _true(!licenses.checkHash(_id(7), 0), "checkHash");
        (bool usable,) = licenses.canUse(_id(7), 0, wallet);
        _true(!usable, "canUse");
    }

    function test_sampl4_nobodyTakesAnIdOver() public {
        uint256 id = _issue(0, 1, 0);
        _print(wallet, id);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseExists.selector, id);
        _refused(owner, abi.encodeCall(licenses.issue, (_order())), error_);
        error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, stranger, 1);
        _refused(stranger, abi.encodeCall(licenses.issue, (_order())), error_);
    }

    function test_sampl5_noMoreSerialsThanCopies() public {
        uint256 id = _issue(0, 2, 0);
        vm.recordLogs();
        uint256 prints;
        for (uint256 copy = 1; copy <= 5; ++copy) {
            vm.prank(wallet);
            try licenses.useLicenseAndLog(id, FILE, copy, 0, bytes32(copy), bytes32(copy)) {
                ++prints;
            } catch {}
        }
        _equal(prints, 2, "prints");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 serials;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IPrintLicense.SerialRegistered.selector) ++serials;
        }
        _equal(serials, 2, "serials");
    }

    /// @dev A stranger can't register a serial at all, and a commitment that somebody used blocks nobody.
    function test_sampl6_nobodySquatsASerial() public {
        uint256 id = _issue(0, 2, 0);
        bytes32 commitment = "wanted";
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, stranger);
        _refused(stranger, abi.encodeCall(licenses.useLicenseAndLog, (id, FILE, 1, 0, 0, commitment)), error_);
        IPrintLicense.Order memory order = _order();
        (order.owner, order.printer) = (stranger, stranger);
        vm.prank(stranger);
        uint256 own = licenses.issue(order);
        vm.prank(stranger);
        licenses.useLicenseAndLog(own, FILE, 1, 0, 0, commitment);
        _expectEvent();
        emit IPrintLicense.SerialRegistered(commitment, wallet);
        vm.prank(wallet);
        licenses.useLicenseAndLog(id, FILE, 1, 0, 0, commitment);
    }

    /// @dev What is logged of a serial is what the device gave: ciphertext and commitment, in one word each.
    function test_sampl7_serialsAreNotInClear() public {
        uint256 id = _issue(0, 2, 0);
        vm.recordLogs();
        vm.prank(wallet);
        licenses.useLicenseAndLog(id, FILE, 1, "recipient", "ciphertext", "commitment");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs[0].data, abi.encode(1, FILE, bytes32("recipient")), "LicenseUsed");
        _equal(logs[2].data, abi.encode(1, bytes32("ciphertext")), "PrintLogged");
        _equal(logs[3].topics[1], "commitment", "SerialRegistered");
        _equal(logs[3].data.length, 0, "nothing else");
    }

    /// @dev There is expiry, revocation, refund and transfer, and the 1000th print costs what the first did.
    function test_sampl8_costDoesNotGrow() public {
        uint256 id = _issue(REVOCABLE | TRANSFERABLE, 2000, 63);
        uint256[] memory spent = new uint256[](1000);
        for (uint256 i = 0; i < spent.length; ++i) {
            uint256 before = gasleft();
            _print(wallet, id);
            spent[i] = before - gasleft();
        }
        // The first one pays for the cold slot.
        _equal(spent[999], spent[1], "gas");
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _issue(uint8 flags, uint16 copies, uint8 failuresAllowed) private returns (uint256) {
        IPrintLicense.Order memory order = _order();
        (order.flags, order.copies, order.failuresAllowed) = (flags, copies, failuresAllowed);
        vm.prank(owner);
        return licenses.issue(order);
    }

    function _print(address by, uint256 id) private {
        vm.prank(by);
        licenses.useLicense(id, FILE);
    }

    function _fail(address by, uint256 id, uint256 copy) private {
        vm.prank(by);
        licenses.reportFailure(id, copy, 0);
    }

    function _refusedUse(address by, uint256 id, bytes memory error_) private {
        _refused(by, abi.encodeCall(licenses.useLicense, (id, FILE)), error_);
    }

    function _refusedGrant(uint256 id, uint16 copies, uint256 most) private {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.TooManyCopies.selector, id, most);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, copies, 0)), error_);
    }

    /// @dev Each holder received before it sent: who reads the events in order sees no negative balance.
    function _isLedgerInOrder(Vm.Log[] memory logs, bool batch) private view {
        address holder = wallet;
        for (uint256 i = 0; i < logs.length; ++i) {
            bool single = logs[i].topics[0] == IERC1155.TransferSingle.selector;
            bool many = batch && logs[i].topics[0] == IERC1155.TransferBatch.selector;
            if (!single && !many) continue;
            _equal(address(uint160(uint256(logs[i].topics[2]))), holder, "from");
            address to = address(uint160(uint256(logs[i].topics[3])));
            if (to != address(0)) holder = to;
        }
        _equal(holder, buyer, "last holder");
    }
}
