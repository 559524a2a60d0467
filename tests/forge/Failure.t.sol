// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Scene} from "./support/Scene.sol";
import {Signatures} from "./support/Signatures.sol";
import {Vm, vm} from "./support/Vm.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice `reportFailure`, `reportFailuresSigned`; cases in Failure.tree.
contract FailureTest is Scene {
    bytes32 private constant EVIDENCE = "spaghetti";

    // --- what a failure does -----------------------------------------------------------------------------

    function testFuzz_failureGivesTheCopyBack(uint256 seed, uint8 flags, bool byDevice) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, flags % 8);
        uint256 id = _put(it);
        address caller = byDevice ? device : wallet;
        _expectFailure(id, copy, caller, true);
        _call(caller, abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)));
        _is(id, _afterFailure(it, copy, true));
    }

    function testFuzz_signedFailureGivesTheCopyBack(uint256 seed, uint8 flags, bool byDevice) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, flags % 8);
        uint256 id = _put(it);
        IPrintLicense.SignedFailure memory failure = _failure(id, copy);
        failure.deadline = _pick(seed, "deadline", NOW, type(uint256).max);
        _expectFailure(id, copy, stranger, true);
        _relay(_sign(byDevice ? DEVICE_KEY : WALLET_KEY, failure));
        _is(id, _afterFailure(it, copy, true));
    }

    /// @dev The copy is counted as failed and forfeited: a revoked license has no copies.
    function testFuzz_failureOnARevokedLicenseIsForfeited(uint256 seed, bool signed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, REVOCABLE | REVOKED);
        it.remaining = 0;
        uint256 id = _put(it);
        vm.recordLogs();
        if (signed) _relay(_sign(DEVICE_KEY, _failure(id, copy)));
        else _call(wallet, abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs.length, 1, "events: no mint");
        _equal(logs[0].topics[0], IPrintLicense.PrintFailed.selector, "event");
        _is(id, _afterFailure(it, copy, false));
    }

    /// @dev What failed while the license was valid can be said later.
    function testFuzz_failureOfAnExpiredLicenseCounts(uint256 seed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        it.validUntil = uint32(NOW);
        uint256 id = _put(it);
        vm.warp(NOW + 1);
        _call(wallet, abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)));
        _is(id, _afterFailure(it, copy, true));
    }

    // --- why a failure is refused ------------------------------------------------------------------------

    function testFuzz_refusesAnUnknownLicense(uint256 id, uint256 copy) public {
        _refusedEverywhere(id, copy, WALLET_KEY, abi.encodeWithSelector(IPrintLicense.LicenseNotFound.selector, id));
    }

    function testFuzz_refusesAStranger(uint256 seed, uint256 key) public {
        key = 1 + key % 1_000_000;
        if (key == WALLET_KEY || key == DEVICE_KEY) return;
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, vm.addr(key));
        _refusedEverywhere(id, copy, key, error_);
    }

    function test_refusesTheOwner() public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(1, 0);
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, owner);
        _refusedEverywhere(id, copy, OWNER_KEY, error_);
    }

    function testFuzz_refusesACopyNotPrinted(uint256 seed, uint256 copy) public {
        (IPrintLicense.License memory it,) = _anyFailable(seed, 0);
        uint256 id = _put(it);
        uint256[6] memory copies =
            [copy, 0, uint256(it.used) + 1, uint256(it.used) + (1 << 16), type(uint256).max, 1 << 16];
        for (uint256 i = 0; i < copies.length; ++i) {
            if (copies[i] != 0 && copies[i] <= it.used) continue;
            _refusedEverywhere(id, copies[i], WALLET_KEY, _notRefundable(id, copies[i]));
        }
    }

    function testFuzz_refusesACopyTooOld(uint256 seed, uint256 copy) public {
        (IPrintLicense.License memory it,) = _anyFailable(seed, 0);
        it.used = uint16(_pick(seed, "many", 17, 65_000));
        it.remaining = 0;
        uint256 id = _put(it);
        copy = _pick(copy, "old copy", 1, it.used - 16);
        _refusedEverywhere(id, copy, WALLET_KEY, _notRefundable(id, copy));
    }

    function testFuzz_refusesAClosedCopy(uint256 seed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        it.failedWindow |= uint16(1 << (it.used - copy));
        uint256 id = _put(it);
        _refusedEverywhere(id, copy, WALLET_KEY, _notRefundable(id, copy));
    }

    function testFuzz_refusesMoreFailuresThanAllowed(uint256 seed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        it.failed = it.failuresAllowed;
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NoFreeFailureLeft.selector, id);
        _refusedEverywhere(id, copy, WALLET_KEY, error_);
    }

    function testFuzz_aCopyFailsOnce(uint256 seed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        if (it.failuresAllowed < 63) ++it.failuresAllowed;
        it.failed = 0;
        it.remaining = 0;
        it.used = it.used > 60_000 ? 60_000 : it.used;
        if (copy > it.used) copy = it.used;
        it.failedWindow = 0;
        uint256 id = _put(it);
        IPrintLicense.SignedFailure memory failure = _sign(DEVICE_KEY, _failure(id, copy));
        _relay(failure);
        bytes4 reason = IPrintLicense.CopyNotRefundable.selector;
        _skipped(failure, reason);
        _refused(
            wallet,
            abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)),
            abi.encodeWithSelector(reason, id, copy)
        );
        _equal(licenses.licenseOf(id).failed, 1, "failed");
    }

    /// @dev All of the last sixteen copies can be reported, each once, in any order, while prints go on.
    function test_windowMovesWithThePrints() public {
        IPrintLicense.License memory it;
        (it.printer, it.fileHash, it.remaining, it.failuresAllowed) = (wallet, FILE, 40, 63);
        uint256 id = _put(it);
        for (uint256 i = 0; i < 20; ++i) {
            _call(wallet, abi.encodeCall(licenses.useLicense, (id, FILE)));
        }
        for (uint256 copy = 5; copy <= 20; copy += 3) {
            _call(wallet, abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)));
        }
        _call(wallet, abi.encodeCall(licenses.useLicense, (id, FILE)));
        for (uint256 copy = 1; copy <= 21; ++copy) {
            bytes memory call_ = abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE));
            bool taken = copy < 6 || (copy <= 20 && copy % 3 == 2);
            if (taken) _refused(wallet, call_, _notRefundable(id, copy));
            else _call(wallet, call_);
        }
        _equal(licenses.licenseOf(id).failed, 17, "failed");
        _equal(licenses.licenseOf(id).failedWindow, type(uint16).max, "window");
    }

    // --- signatures and batches --------------------------------------------------------------------------

    function testFuzz_signedFailureEndsWithItsDeadline(uint256 seed, uint256 deadline) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        uint256 id = _put(it);
        IPrintLicense.SignedFailure memory failure = _failure(id, copy);
        failure.deadline = deadline % NOW;
        _skipped(_sign(DEVICE_KEY, failure), IPrintLicense.SignatureExpired.selector);
        failure = _sign(DEVICE_KEY, _failure(id, copy));
        vm.warp(NOW + 1);
        _skipped(failure, IPrintLicense.SignatureExpired.selector);
    }

    function testFuzz_signedFailureRefusesAChange(uint256 seed, uint256 field) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        uint256 id = _put(it);
        IPrintLicense.SignedFailure memory failure = _sign(DEVICE_KEY, _failure(id, copy));
        field %= 4;
        if (field == 0) failure.evidence = bytes32(seed);
        if (field == 1) failure.deadline = NOW + 1 + seed % 1000;
        if (field == 2) failure.r = bytes32(uint256(failure.r) ^ 1);
        if (field == 3) vm.chainId(block.chainid + 1);
        _forged(failure);
    }

    function test_signedFailureRefusesAUsesSignature() public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(1, 0);
        uint256 id = _put(it);
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, copy));
        IPrintLicense.SignedFailure memory failure = _failure(id, copy);
        (failure.r, failure.vs) = (use.r, use.vs);
        _forged(failure);
    }

    function test_signedFailureRefusesAMalleableSignature() public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(1, 0);
        uint256 id = _put(it);
        IPrintLicense.SignedFailure memory failure = _sign(DEVICE_KEY, _failure(id, copy));
        uint256 s = uint256(failure.vs) & (type(uint256).max >> 1);
        failure.vs = bytes32((Signatures.ORDER_OF_CURVE - s) | (1 - (uint256(failure.vs) >> 255)) << 255);
        _forged(failure);
        failure.vs = bytes32(type(uint256).max >> 1);
        _skipped(failure, IPrintLicense.InvalidSignature.selector);
        (failure.r, failure.vs) = (0, 0);
        _skipped(failure, IPrintLicense.InvalidSignature.selector);
    }

    function test_batchLeavesBadEntriesOut() public {
        IPrintLicense.License memory it;
        (it.printer, it.fileHash, it.used, it.failuresAllowed) = (wallet, FILE, 9, 3);
        uint256 id = _put(it);
        IPrintLicense.SignedFailure[] memory failures = new IPrintLicense.SignedFailure[](7);
        failures[0] = _sign(DEVICE_KEY, _failure(id, 9));
        failures[1] = _sign(DEVICE_KEY, _failure(id, 9));
        failures[2] = _sign(STRANGER_KEY, _failure(id, 8));
        failures[3] = _sign(WALLET_KEY, _failure(id, 8));
        failures[4] = _sign(DEVICE_KEY, _failure(_id(2), 1));
        failures[5] = _sign(DEVICE_KEY, _failure(id, 1));
        failures[6] = _sign(DEVICE_KEY, _failure(id, 2));
        _expectFailure(id, 9, stranger, true);
        _expectSkip(id, 9, IPrintLicense.CopyNotRefundable.selector);
        _expectSkip(id, 8, IPrintLicense.NotThePrinter.selector);
        _expectFailure(id, 8, stranger, true);
        _expectSkip(_id(2), 1, IPrintLicense.LicenseNotFound.selector);
        _expectFailure(id, 1, stranger, true);
        _expectSkip(id, 2, IPrintLicense.NoFreeFailureLeft.selector);
        _call(stranger, abi.encodeCall(licenses.reportFailuresSigned, (failures)));
        _equal(licenses.licenseOf(id).failed, 3, "failed");
        _equal(licenses.licenseOf(id).remaining, 3, "remaining");
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _afterFailure(IPrintLicense.License memory it, uint256 copy, bool givenBack)
        private
        pure
        returns (IPrintLicense.License memory)
    {
        it.failed += 1;
        if (givenBack) it.remaining += 1;
        it.failedWindow |= uint16(2 ** (it.used - copy));
        return it;
    }

    function _notRefundable(uint256 id, uint256 copy) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IPrintLicense.CopyNotRefundable.selector, id, copy);
    }

    function _refusedEverywhere(uint256 id, uint256 copy, uint256 key, bytes memory error_) private {
        _refused(vm.addr(key), abi.encodeCall(licenses.reportFailure, (id, copy, EVIDENCE)), error_);
        _skipped(_sign(key, _failure(id, copy)), bytes4(error_));
    }

    function _forged(IPrintLicense.SignedFailure memory failure) private {
        (uint256 before,) = _stored(failure.id);
        vm.recordLogs();
        _relay(failure);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs.length, 1, "events");
        _equal(logs[0].topics[0], IPrintLicense.FailureSkipped.selector, "skipped");
        (uint256 word,) = _stored(failure.id);
        _equal(word, before, "word");
    }

    function _expectSkip(uint256 id, uint256 copy, bytes4 reason) private {
        _expectEvent();
        emit IPrintLicense.FailureSkipped(id, copy, reason);
    }

    function _expectFailure(uint256 id, uint256 copy, address operator, bool givenBack) private {
        _expectEvent();
        emit IPrintLicense.PrintFailed(id, uint16(copy), EVIDENCE);
        if (!givenBack) return;
        _expectEvent();
        emit IERC1155.TransferSingle(operator, address(0), wallet, id, 1);
    }
}
