// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {DeviceRegistry} from "../../../contracts/DeviceRegistry.sol";
import {PrintLicense} from "../../../contracts/PrintLicense.sol";
import {IPrintLicense} from "../../../contracts/interfaces/IPrintLicense.sol";
import {Assertions} from "./Assertions.sol";
import {Signatures} from "./Signatures.sol";
import {vm} from "./Vm.sol";

/// @notice The people of the tests, and licenses in any valid state. Random callers and random words hardly ever
/// reach the interesting code, so a test starts from a valid state and changes one thing.
abstract contract Scene is Assertions {
    uint256 internal constant OWNER_KEY = 0xa1;
    uint256 internal constant WALLET_KEY = 0xa2;
    uint256 internal constant DEVICE_KEY = 0xa3;
    uint256 internal constant STRANGER_KEY = 0xa4;

    uint8 internal constant TRANSFERABLE = 1;
    uint8 internal constant REVOCABLE = 2;
    uint8 internal constant TRUSTED_DEVICE = 4;
    uint8 internal constant REVOKED = 8;

    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant FILE = 0xf11e;
    uint256 internal constant OTHER_FILE = 0xbad;
    bytes32 internal constant MANIFEST = bytes32(uint256(0x3a2f));

    /// @dev Storage slot of the licenses' mapping; `test_layout` checks it.
    uint256 private constant LICENSES_SLOT = 6;

    address internal immutable owner = vm.addr(OWNER_KEY);
    address internal immutable wallet = vm.addr(WALLET_KEY);
    address internal immutable device = vm.addr(DEVICE_KEY);
    address internal immutable stranger = vm.addr(STRANGER_KEY);
    address internal immutable portal = vm.addr(0xa5);
    address internal immutable attestor = vm.addr(0xa6);
    address internal immutable buyer = vm.addr(0xa7);

    DeviceRegistry internal devices;
    PrintLicense internal licenses;

    function setUp() public virtual {
        vm.warp(NOW);
        devices = new DeviceRegistry();
        licenses = new PrintLicense(devices);
        _bind(wallet, DEVICE_KEY);
    }

    // --- calls -------------------------------------------------------------------------------------------

    function _call(address caller, bytes memory data) internal {
        vm.prank(caller);
        (bool done, bytes memory answer) = address(licenses).call(data);
        if (!done) _raise(answer);
    }

    /// @dev The call reverts with exactly this error.
    function _refused(address caller, bytes memory data, bytes memory error_) internal {
        _refusedBy(address(licenses), caller, data, error_);
    }

    function _refusedBy(address target, address caller, bytes memory data, bytes memory error_) internal {
        vm.prank(caller);
        (bool done, bytes memory answer) = target.call(data);
        _true(!done, "refused");
        _equal(answer, error_, "error");
    }

    /// @dev The next event of the licenses' contract is the one emitted by the caller of this function.
    function _expectEvent() internal {
        vm.expectEmit(address(licenses));
    }

    function _bind(address by, uint256 deviceKey) internal {
        address device_ = vm.addr(deviceKey);
        bytes32 digest =
            Signatures.bindDigest(address(devices), by, device_, devices.nonceOf(device_), block.timestamp);
        bytes memory signature = Signatures.long(deviceKey, digest);
        vm.prank(by);
        devices.bind(device_, block.timestamp, signature);
    }

    /// @dev A device (or wallet) that `owner` trusts from now on.
    function _trust(address device_) internal {
        vm.prank(attestor);
        devices.attest(device_, bytes32(uint256(1)));
        vm.prank(device_);
        devices.presentAttestor(device_, attestor, true);
        vm.prank(owner);
        devices.acceptAttestor(attestor, true);
    }

    function _setOperator(address operator, uint8 rights) internal {
        vm.prank(owner);
        licenses.setOperator(owner, operator, rights, uint64(block.timestamp));
    }

    // --- licenses ----------------------------------------------------------------------------------------

    function _id(uint96 number) internal view returns (uint256) {
        return _idOf(owner, number);
    }

    function _idOf(address owner_, uint96 number) internal pure returns (uint256) {
        return (uint256(uint160(owner_)) << 96) | number;
    }

    function _order() internal view returns (IPrintLicense.Order memory) {
        return IPrintLicense.Order({
            owner: owner,
            number: 1,
            printer: wallet,
            fileHash: FILE,
            copies: 3,
            validUntil: 0,
            flags: 0,
            failuresAllowed: 2,
            manifestHash: MANIFEST,
            deadline: block.timestamp
        });
    }

    function _orderAny(uint256 seed) internal view returns (IPrintLicense.Order memory order) {
        order.owner = owner;
        order.number = uint96(_pick(seed, "number", 0, type(uint96).max));
        order.printer = wallet;
        order.fileHash = _pick(seed, "fileHash", 1, type(uint256).max);
        order.failuresAllowed = uint8(_pick(seed, "failuresAllowed", 0, 63));
        order.copies = uint16(_pick(seed, "copies", 1, type(uint16).max - order.failuresAllowed));
        order.flags = uint8(_pick(seed, "flags", 0, 7));
        if (_pick(seed, "expires", 0, 1) == 1) {
            order.validUntil = uint32(_pick(seed, "validUntil", block.timestamp, type(uint32).max));
        }
        order.manifestHash = keccak256(abi.encode(seed));
        order.deadline = _pick(seed, "deadline", block.timestamp, type(uint256).max);
    }

    /// @dev Any license that calls can lead to and that is neither revoked nor expired. `flags` are as given.
    function _any(uint256 seed, uint8 flags) internal view returns (IPrintLicense.License memory it) {
        it.printer = wallet;
        it.flags = flags;
        it.fileHash = FILE;
        it.failuresAllowed = uint8(_pick(seed, "failuresAllowed", 0, 63));
        it.failed = uint8(_pick(seed, "failed", 0, it.failuresAllowed));
        uint256 room = type(uint16).max - (it.failuresAllowed - it.failed);
        it.used = uint16(_pick(seed, "used", it.failed, room));
        it.remaining = uint16(_pick(seed, "remaining", 0, room - it.used));
        it.failedWindow = uint16(_pick(seed, "failedWindow", 0, type(uint16).max));
        if (_pick(seed, "expires", 0, 1) == 1) {
            it.validUntil = uint32(_pick(seed, "validUntil", block.timestamp, type(uint32).max));
        }
    }

    /// @dev As `_any`, with at least one copy left.
    function _anyUsable(uint256 seed, uint8 flags) internal view returns (IPrintLicense.License memory it) {
        it = _any(seed, flags);
        if (it.remaining == 0) {
            it.remaining = 1;
            uint256 most = type(uint16).max - 1 - uint256(it.failuresAllowed - it.failed);
            if (it.used > most) it.used = uint16(most);
        }
    }

    /// @dev As `_any`, and copy `used - age` can be reported as failed.
    function _anyFailable(uint256 seed, uint8 flags)
        internal
        view
        returns (IPrintLicense.License memory it, uint256 copy)
    {
        it = _any(seed, flags);
        if (it.failuresAllowed == 0) it.failuresAllowed = 1;
        if (it.failed == it.failuresAllowed) --it.failed;
        uint256 room = type(uint16).max - uint256(it.failuresAllowed - it.failed);
        it.used = uint16(_pick(seed, "used", it.failed + 1, room));
        it.remaining = uint16(_pick(seed, "remaining", 0, room - it.used));
        uint256 age = _pick(seed, "age", 0, it.used > 16 ? 15 : it.used - 1);
        it.failedWindow &= ~uint16(1 << age);
        copy = it.used - age;
    }

    /// @dev Writes a license into storage as if calls had led to it; its id.
    function _put(IPrintLicense.License memory it) internal returns (uint256 id) {
        id = _id(1);
        bytes32 slot = keccak256(abi.encode(id, LICENSES_SLOT));
        vm.store(address(licenses), slot, bytes32(_word(it)));
        vm.store(address(licenses), bytes32(uint256(slot) + 1), bytes32(it.fileHash));
    }

    function _word(IPrintLicense.License memory it) internal pure returns (uint256) {
        return uint256(uint160(it.printer)) | uint256(it.validUntil) << 160 | uint256(it.flags) << 192
            | uint256(it.remaining) << 196 | uint256(it.used) << 212 | uint256(it.failedWindow) << 228
            | uint256(it.failuresAllowed) << 244 | uint256(it.failed) << 250;
    }

    function _stored(uint256 id) internal view returns (uint256 word, uint256 fileHash) {
        bytes32 slot = keccak256(abi.encode(id, LICENSES_SLOT));
        word = uint256(vm.load(address(licenses), slot));
        fileHash = uint256(vm.load(address(licenses), bytes32(uint256(slot) + 1)));
    }

    /// @dev The license is exactly this, in storage, in `licenseOf` and in the ERC-1155 face.
    function _is(uint256 id, IPrintLicense.License memory expected) internal view {
        IPrintLicense.License memory found = licenses.licenseOf(id);
        _equal(found.printer, expected.printer, "printer");
        _equal(found.validUntil, expected.validUntil, "validUntil");
        _equal(found.flags, expected.flags, "flags");
        _equal(found.remaining, expected.remaining, "remaining");
        _equal(found.used, expected.used, "used");
        _equal(found.failedWindow, expected.failedWindow, "failedWindow");
        _equal(found.failuresAllowed, expected.failuresAllowed, "failuresAllowed");
        _equal(found.failed, expected.failed, "failed");
        _equal(found.fileHash, expected.fileHash, "fileHash");
        (uint256 word, uint256 fileHash) = _stored(id);
        _equal(word, _word(expected), "word");
        _equal(fileHash, expected.fileHash, "second word");
        _equal(licenses.balanceOf(expected.printer, id), expected.remaining, "balance");
    }

    // --- signatures --------------------------------------------------------------------------------------

    function _use(uint256 id, uint256 copy) internal view returns (IPrintLicense.SignedUse memory use) {
        use.id = id;
        use.fileHash = FILE;
        use.copy = copy;
        use.keyRecipient = bytes32("key");
        use.encryptedSerial = bytes32("serial");
        use.commitment = bytes32("commitment");
        use.deadline = block.timestamp;
    }

    function _sign(uint256 key, IPrintLicense.SignedUse memory use)
        internal
        view
        returns (IPrintLicense.SignedUse memory)
    {
        bytes32 domain = Signatures.ofLicenses(address(licenses));
        (use.r, use.vs) = Signatures.compact(key, Signatures.digest(domain, Signatures.hashOf(use)));
        return use;
    }

    function _failure(uint256 id, uint256 copy) internal view returns (IPrintLicense.SignedFailure memory failure) {
        failure.id = id;
        failure.copy = copy;
        failure.evidence = bytes32("spaghetti");
        failure.deadline = block.timestamp;
    }

    function _sign(uint256 key, IPrintLicense.SignedFailure memory failure)
        internal
        view
        returns (IPrintLicense.SignedFailure memory)
    {
        bytes32 domain = Signatures.ofLicenses(address(licenses));
        (failure.r, failure.vs) = Signatures.compact(key, Signatures.digest(domain, Signatures.hashOf(failure)));
        return failure;
    }

    function _sign(uint256 key, IPrintLicense.Order memory order) internal view returns (bytes memory) {
        return Signatures.long(key, _digest(order));
    }

    function _digest(IPrintLicense.Order memory order) internal view returns (bytes32) {
        return Signatures.digest(Signatures.ofLicenses(address(licenses)), Signatures.hashOf(order));
    }

    /// @dev Submits one signed use as a stranger.
    function _relay(IPrintLicense.SignedUse memory use) internal {
        IPrintLicense.SignedUse[] memory uses = new IPrintLicense.SignedUse[](1);
        uses[0] = use;
        vm.prank(stranger);
        licenses.useLicensesSigned(uses);
    }

    function _relay(IPrintLicense.SignedFailure memory failure) internal {
        IPrintLicense.SignedFailure[] memory failures = new IPrintLicense.SignedFailure[](1);
        failures[0] = failure;
        vm.prank(stranger);
        licenses.reportFailuresSigned(failures);
    }

    /// @dev The relayed use is left out for this reason and changes nothing.
    function _skipped(IPrintLicense.SignedUse memory use, bytes4 reason) internal {
        (uint256 before,) = _stored(use.id);
        _expectEvent();
        emit IPrintLicense.UseSkipped(use.id, use.copy, reason);
        _relay(use);
        (uint256 word,) = _stored(use.id);
        _equal(word, before, "word of a skipped use");
    }

    function _skipped(IPrintLicense.SignedFailure memory failure, bytes4 reason) internal {
        (uint256 before,) = _stored(failure.id);
        _expectEvent();
        emit IPrintLicense.FailureSkipped(failure.id, failure.copy, reason);
        _relay(failure);
        (uint256 word,) = _stored(failure.id);
        _equal(word, before, "word of a skipped failure");
    }

    function _raise(bytes memory answer) private pure {
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }
}
