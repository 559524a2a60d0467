// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Scene} from "./support/Scene.sol";
import {Signatures} from "./support/Signatures.sol";
import {Vm, vm} from "./support/Vm.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice `useLicense`, `useLicenseAndLog`, `useLicensesSigned`, `canUse`; cases in Use.tree.
contract UseTest is Scene {
    // --- what a use does ---------------------------------------------------------------------------------

    function testFuzz_useConsumesOneCopy(uint256 seed, uint8 flags, bool byDevice) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags & 3);
        uint256 id = _put(it);
        address caller = byDevice ? device : wallet;
        _usable(id, FILE, caller);
        _expectUse(it, id, caller, caller, 0);
        _call(caller, abi.encodeCall(licenses.useLicense, (id, FILE)));
        _is(id, _afterUse(it));
    }

    function testFuzz_useAndLogConsumesOneCopy(uint256 seed, uint8 flags, bool byDevice, bytes32 secret) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags & 3);
        uint256 id = _put(it);
        address caller = byDevice ? device : wallet;
        uint256 copy = uint256(it.used) + 1;
        _expectUse(it, id, caller, caller, secret);
        _expectSerial(id, copy, keccak256(abi.encode(secret)), ~secret, caller);
        _call(
            caller,
            abi.encodeCall(
                licenses.useLicenseAndLog, (id, FILE, copy, secret, keccak256(abi.encode(secret)), ~secret)
            )
        );
        _is(id, _afterUse(it));
    }

    function testFuzz_signedUseConsumesOneCopy(uint256 seed, uint8 flags, bool byDevice, bytes32 secret) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags & 3);
        uint256 id = _put(it);
        IPrintLicense.SignedUse memory use = _use(id, uint256(it.used) + 1);
        use.keyRecipient = secret;
        use.encryptedSerial = keccak256(abi.encode(secret));
        use.commitment = ~secret;
        use.deadline = _pick(seed, "deadline", NOW, type(uint256).max);
        use = _sign(byDevice ? DEVICE_KEY : WALLET_KEY, use);
        address signer = byDevice ? device : wallet;
        _expectUse(it, id, signer, stranger, secret);
        _expectSerial(id, use.copy, use.encryptedSerial, use.commitment, signer);
        _relay(use);
        _is(id, _afterUse(it));
    }

    /// @dev The two log entries of a print are adjacent and in order; nothing else is logged.
    function test_logEntriesAreAdjacent() public {
        uint256 id = _put(_anyUsable(0, 0));
        IPrintLicense.License memory it = licenses.licenseOf(id);
        vm.recordLogs();
        vm.prank(wallet);
        licenses.useLicenseAndLog(id, FILE, uint256(it.used) + 1, 0, 0, 0);
        _isLogOfAPrint(vm.getRecordedLogs());
        IPrintLicense.SignedUse memory use = _sign(WALLET_KEY, _use(id, uint256(it.used) + 2));
        _put(_anyUsable(0, 0));
        use = _sign(WALLET_KEY, _use(id, uint256(it.used) + 1));
        vm.recordLogs();
        _relay(use);
        _isLogOfAPrint(vm.getRecordedLogs());
    }

    function test_useWithoutLogLeavesNoSerial() public {
        uint256 id = _put(_anyUsable(0, 0));
        vm.recordLogs();
        _call(wallet, abi.encodeCall(licenses.useLicense, (id, FILE)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs.length, 2, "events");
        _equal(logs[0].topics[0], IPrintLicense.LicenseUsed.selector, "first");
        _equal(logs[1].topics[0], IERC1155.TransferSingle.selector, "second");
    }

    // --- why a use is refused: directly, with log, signed, and as `canUse` foretells ----------------------

    function testFuzz_refusesAnUnknownLicense(uint256 id, uint256 fileHash) public {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotFound.selector, id);
        _refusedEverywhere(id, fileHash, 1, WALLET_KEY, error_);
    }

    function testFuzz_refusesAStranger(uint256 seed, uint256 key) public {
        key = 1 + key % 1_000_000;
        if (key == WALLET_KEY || key == DEVICE_KEY) return;
        uint256 id = _put(_anyUsable(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, vm.addr(key));
        _refusedEverywhere(id, FILE, _next(id), key, error_);
    }

    function test_refusesTheOwner() public {
        uint256 id = _put(_anyUsable(1, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, owner);
        _refusedEverywhere(id, FILE, _next(id), OWNER_KEY, error_);
    }

    function testFuzz_refusesADeviceNoLongerBound(uint256 seed) public {
        uint256 id = _put(_anyUsable(seed, 0));
        vm.prank(wallet);
        devices.unbind(device);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, device);
        _refusedEverywhere(id, FILE, _next(id), DEVICE_KEY, error_);
    }

    function test_refusesADeviceOfAnotherWallet() public {
        uint256 id = _put(_anyUsable(1, 0));
        _bind(buyer, STRANGER_KEY);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, stranger);
        _refusedEverywhere(id, FILE, _next(id), STRANGER_KEY, error_);
    }

    function testFuzz_refusesARevokedLicense(uint256 seed, uint8 flags) public {
        // With copies left, although `revoke` leaves none: consumption checks the flag itself.
        uint256 id = _put(_anyUsable(seed, flags % 16 | REVOKED));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseIsRevoked.selector, id);
        _refusedEverywhere(id, FILE, _next(id), WALLET_KEY, error_);
    }

    function testFuzz_refusesAnExpiredLicense(uint256 seed, uint256 late) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        it.validUntil = uint32(_pick(seed, "until", NOW, type(uint32).max));
        uint256 id = _put(it);
        vm.warp(_pick(late, "late", uint256(it.validUntil) + 1, type(uint64).max));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseExpired.selector, id, it.validUntil);
        _refusedEverywhere(id, FILE, _next(id), WALLET_KEY, error_);
        _equal(licenses.balanceOf(wallet, id), it.remaining, "balance of an expired license");
    }

    function testFuzz_usableInItsLastSecond(uint256 seed) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        it.validUntil = uint32(_pick(seed, "until", NOW, type(uint32).max));
        uint256 id = _put(it);
        vm.warp(it.validUntil);
        _usable(id, FILE, wallet);
        _call(wallet, abi.encodeCall(licenses.useLicense, (id, FILE)));
        _is(id, _afterUse(it));
    }

    function testFuzz_usableForEver(uint256 seed, uint64 time) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        it.validUntil = 0;
        uint256 id = _put(it);
        vm.warp(time);
        _call(wallet, abi.encodeCall(licenses.useLicense, (id, FILE)));
        _is(id, _afterUse(it));
    }

    function testFuzz_refusesTheHashZero(uint256 seed) public {
        uint256 id = _put(_anyUsable(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileHashIsZero.selector, id);
        _refusedEverywhere(id, 0, _next(id), WALLET_KEY, error_);
    }

    function testFuzz_refusesAnotherFile(uint256 seed, uint256 fileHash) public {
        if (fileHash == FILE || fileHash == 0) return;
        uint256 id = _put(_anyUsable(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileHashMismatch.selector, id, fileHash);
        _refusedEverywhere(id, fileHash, _next(id), WALLET_KEY, error_);
    }

    function testFuzz_takesAnApprovedFileUntilItIsWithdrawn(uint256 seed, uint256 fileHash) public {
        if (fileHash == FILE || fileHash == 0) return;
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        uint256 id = _put(it);
        vm.prank(owner);
        licenses.approveFile(id, fileHash, MANIFEST, true);
        _usable(id, fileHash, wallet);
        _usable(id, FILE, wallet);
        vm.prank(owner);
        licenses.approveFile(id, fileHash, MANIFEST, false);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileHashMismatch.selector, id, fileHash);
        _refusedEverywhere(id, fileHash, _next(id), WALLET_KEY, error_);
        vm.prank(owner);
        licenses.approveFile(id, fileHash, MANIFEST, true);
        _call(wallet, abi.encodeCall(licenses.useLicense, (id, fileHash)));
        _is(id, _afterUse(it));
    }

    /// @dev A file approved for one license says nothing about another.
    function test_refusesAFileApprovedForAnotherLicense() public {
        uint256 id = _put(_anyUsable(1, 0));
        IPrintLicense.Order memory order = _order();
        order.number = 2;
        vm.prank(owner);
        licenses.issue(order);
        vm.prank(owner);
        licenses.approveFile(_id(2), OTHER_FILE, MANIFEST, true);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileHashMismatch.selector, id, OTHER_FILE);
        _refusedEverywhere(id, OTHER_FILE, _next(id), WALLET_KEY, error_);
    }

    function testFuzz_refusesAnExhaustedLicense(uint256 seed) public {
        IPrintLicense.License memory it = _any(seed, 0);
        it.remaining = 0;
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseExhausted.selector, id);
        _refusedEverywhere(id, FILE, uint256(it.used) + 1, WALLET_KEY, error_);
    }

    // --- trusted devices ---------------------------------------------------------------------------------

    function testFuzz_refusesAnUntrustedDevice(uint256 seed, bool byDevice) public {
        uint256 id = _put(_anyUsable(seed, TRUSTED_DEVICE));
        uint256 key = byDevice ? DEVICE_KEY : WALLET_KEY;
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.DeviceNotTrusted.selector, id, vm.addr(key));
        _refusedEverywhere(id, FILE, _next(id), key, error_);
    }

    function testFuzz_takesATrustedDevice(uint256 seed, uint8 flags, bool byDevice) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags & 7 | TRUSTED_DEVICE);
        uint256 id = _put(it);
        address caller = byDevice ? device : wallet;
        _trust(caller);
        _usable(id, FILE, caller);
        _call(caller, abi.encodeCall(licenses.useLicense, (id, FILE)));
        _is(id, _afterUse(it));
    }

    /// @dev Trust alone is no right to print: the attested device must still be bound by the printer's wallet.
    function test_refusesATrustedStranger() public {
        uint256 id = _put(_anyUsable(1, TRUSTED_DEVICE));
        _trust(stranger);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotThePrinter.selector, id, stranger);
        _refusedEverywhere(id, FILE, _next(id), STRANGER_KEY, error_);
    }

    // --- the number of the copy --------------------------------------------------------------------------

    function testFuzz_refusesAnotherCopy(uint256 seed, uint256 copy) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        uint256 id = _put(it);
        uint256 next = uint256(it.used) + 1;
        uint256[6] memory copies = [copy, 0, it.used, next + 1, next + (1 << 16), type(uint256).max];
        for (uint256 i = 0; i < copies.length; ++i) {
            if (copies[i] == next) continue;
            _refused(
                wallet,
                abi.encodeCall(licenses.useLicenseAndLog, (id, FILE, copies[i], 0, 0, 0)),
                abi.encodeWithSelector(IPrintLicense.CopyOutOfOrder.selector, id, copies[i], next)
            );
            _skipped(_sign(DEVICE_KEY, _use(id, copies[i])), IPrintLicense.CopyOutOfOrder.selector);
        }
    }

    // --- signatures --------------------------------------------------------------------------------------

    function testFuzz_signedUseEndsWithItsDeadline(uint256 seed, uint256 deadline) public {
        uint256 id = _put(_anyUsable(seed, 0));
        IPrintLicense.SignedUse memory use = _use(id, _next(id));
        use.deadline = deadline % NOW;
        _skipped(_sign(DEVICE_KEY, use), IPrintLicense.SignatureExpired.selector);
        use.deadline = NOW;
        use = _sign(DEVICE_KEY, use);
        vm.warp(NOW + 1);
        _skipped(use, IPrintLicense.SignatureExpired.selector);
        vm.warp(NOW);
        _relay(use);
        _equal(licenses.licenseOf(id).used, use.copy, "used");
    }

    /// @dev Each field of a use is signed: a changed one is somebody else's signature or nobody's.
    function testFuzz_signedUseRefusesAChange(uint256 seed, uint256 field) public {
        uint256 id = _put(_anyUsable(seed, 0));
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, _next(id)));
        field %= 5;
        if (field == 0) use.keyRecipient = bytes32(seed);
        if (field == 1) use.encryptedSerial = bytes32(seed);
        if (field == 2) use.commitment = bytes32(seed);
        if (field == 3) use.deadline = NOW + 1 + seed % 1000;
        if (field == 4) use.r = bytes32(uint256(use.r) ^ 1);
        _forged(use);
    }

    function test_signedUseRefusesAnotherChain() public {
        uint256 id = _put(_anyUsable(1, 0));
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, _next(id)));
        vm.chainId(block.chainid + 1);
        _forged(use);
    }

    function test_signedUseRefusesAnotherContract() public {
        uint256 id = _put(_anyUsable(1, 0));
        IPrintLicense.SignedUse memory use = _use(id, _next(id));
        bytes32 domain = Signatures.ofLicenses(address(devices));
        (use.r, use.vs) = Signatures.compact(DEVICE_KEY, Signatures.digest(domain, Signatures.hashOf(use)));
        _forged(use);
    }

    /// @dev A signature of no curve point recovers nobody.
    function test_signedUseRefusesAnImpossibleSignature() public {
        uint256 id = _put(_anyUsable(1, 0));
        IPrintLicense.SignedUse memory use = _use(id, _next(id));
        _skipped(use, IPrintLicense.InvalidSignature.selector);
    }

    /// @dev In EIP-2098 the upper half of `s` can't be written: a high `s` reads as another one.
    function test_signedUseRefusesAMalleableSignature() public {
        uint256 id = _put(_anyUsable(1, 0));
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, _next(id)));
        uint256 s = uint256(use.vs) & (type(uint256).max >> 1);
        uint256 parity = uint256(use.vs) >> 255;
        use.vs = bytes32(Signatures.ORDER_OF_CURVE - s);
        _forged(use);
        use.vs = bytes32((Signatures.ORDER_OF_CURVE - s) | ((1 - parity) << 255));
        _forged(use);
        // The largest `s` that fits 255 bits lies above half the curve's order: refused as malleable.
        use.vs = bytes32(type(uint256).max >> 1);
        _skipped(use, IPrintLicense.InvalidSignature.selector);
    }

    function testFuzz_signedUseCountsOnce(uint256 seed) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        uint256 id = _put(it);
        IPrintLicense.SignedUse memory use = _sign(DEVICE_KEY, _use(id, _next(id)));
        _relay(use);
        _skipped(
            use, it.remaining == 1 ? IPrintLicense.LicenseExhausted.selector : IPrintLicense.CopyOutOfOrder.selector
        );
        _is(id, _afterUse(it));
    }

    // --- batches -----------------------------------------------------------------------------------------

    /// @dev Bad entries change neither their neighbours nor anything else; every position is tried.
    function testFuzz_batchLeavesBadEntriesOut(uint256 seed) public {
        IPrintLicense.License memory it = _anyUsable(seed, 0);
        it.used = uint16(_pick(seed, "few", 0, 60_000));
        it.remaining = 5;
        uint256 id = _put(it);
        uint256 next = _next(id);
        IPrintLicense.SignedUse[] memory uses = new IPrintLicense.SignedUse[](5);
        uint256 good;
        for (uint256 i = 0; i < uses.length; ++i) {
            IPrintLicense.SignedUse memory use = _use(id, next + good);
            uint256 fault = uint256(keccak256(abi.encode(seed, i))) % 6;
            bytes4 reason;
            uint256 key = DEVICE_KEY;
            if (fault == 1) (use.copy, reason) = (use.copy + 1, IPrintLicense.CopyOutOfOrder.selector);
            if (fault == 2) (use.fileHash, reason) = (OTHER_FILE, IPrintLicense.FileHashMismatch.selector);
            if (fault == 3) (use.deadline, reason) = (NOW - 1, IPrintLicense.SignatureExpired.selector);
            if (fault == 4) (key, reason) = (STRANGER_KEY, IPrintLicense.NotThePrinter.selector);
            if (fault == 5) (use.id, reason) = (_id(2), IPrintLicense.LicenseNotFound.selector);
            uses[i] = _sign(key, use);
            _expectEvent();
            if (reason == 0) {
                emit IPrintLicense.LicenseUsed(id, device, uint16(use.copy), FILE, use.keyRecipient);
                ++good;
            } else {
                emit IPrintLicense.UseSkipped(use.id, use.copy, reason);
            }
        }
        _call(stranger, abi.encodeCall(licenses.useLicensesSigned, (uses)));
        _equal(licenses.licenseOf(id).used, it.used + good, "used");
        _equal(licenses.licenseOf(id).remaining, 5 - good, "remaining");
    }

    function test_batchMayBeEmpty() public {
        vm.recordLogs();
        licenses.useLicensesSigned(new IPrintLicense.SignedUse[](0));
        licenses.reportFailuresSigned(new IPrintLicense.SignedFailure[](0));
        _equal(vm.getRecordedLogs().length, 0, "events");
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _next(uint256 id) private view returns (uint256) {
        return uint256(licenses.licenseOf(id).used) + 1;
    }

    function _afterUse(IPrintLicense.License memory it) private pure returns (IPrintLicense.License memory) {
        it.remaining -= 1;
        it.used += 1;
        it.failedWindow = uint16((uint256(it.failedWindow) * 2) % 65_536);
        return it;
    }

    function _usable(uint256 id, uint256 fileHash, address caller) private view {
        (bool usable, bytes4 reason) = licenses.canUse(id, fileHash, caller);
        _true(usable && reason == 0, "canUse");
        _true(licenses.checkHash(id, fileHash), "checkHash");
    }

    function _refusedEverywhere(uint256 id, uint256 fileHash, uint256 copy, uint256 key, bytes memory error_)
        private
    {
        address caller = vm.addr(key);
        bytes4 selector = bytes4(error_);
        (bool usable, bytes4 reason) = licenses.canUse(id, fileHash, caller);
        _true(!usable && reason == selector, "canUse foretells the error");
        _refused(caller, abi.encodeCall(licenses.useLicense, (id, fileHash)), error_);
        _refused(caller, abi.encodeCall(licenses.useLicenseAndLog, (id, fileHash, copy, 0, 0, 0)), error_);
        IPrintLicense.SignedUse memory use = _use(id, copy);
        use.fileHash = fileHash;
        _skipped(_sign(key, use), selector);
    }

    /// @dev A signature that isn't the device's consumes nothing. Whom it recovers, if anybody, is chance.
    function _forged(IPrintLicense.SignedUse memory use) private {
        (uint256 before,) = _stored(use.id);
        vm.recordLogs();
        _relay(use);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs.length, 1, "events");
        _equal(logs[0].topics[0], IPrintLicense.UseSkipped.selector, "skipped");
        (, bytes4 reason) = abi.decode(logs[0].data, (uint256, bytes4));
        _true(
            reason == IPrintLicense.InvalidSignature.selector || reason == IPrintLicense.NotThePrinter.selector,
            "reason"
        );
        (uint256 word,) = _stored(use.id);
        _equal(word, before, "word");
    }

    function _expectUse(
        IPrintLicense.License memory it,
        uint256 id,
        address by,
        address operator,
        bytes32 keyRecipient
    ) private {
        _expectEvent();
        emit IPrintLicense.LicenseUsed(id, by, it.used + 1, FILE, keyRecipient);
        _expectEvent();
        emit IERC1155.TransferSingle(operator, wallet, address(0), id, 1);
    }

    function _expectSerial(uint256 id, uint256 copy, bytes32 serial, bytes32 commitment, address by) private {
        _expectEvent();
        emit IPrintLicense.PrintLogged(id, uint16(copy), serial);
        _expectEvent();
        emit IPrintLicense.SerialRegistered(commitment, by);
    }

    function _isLogOfAPrint(Vm.Log[] memory logs) private pure {
        _equal(logs.length, 4, "events");
        _equal(logs[0].topics[0], IPrintLicense.LicenseUsed.selector, "first");
        _equal(logs[1].topics[0], IERC1155.TransferSingle.selector, "second");
        _equal(logs[2].topics[0], IPrintLicense.PrintLogged.selector, "third");
        _equal(logs[3].topics[0], IPrintLicense.SerialRegistered.selector, "fourth");
    }
}
