// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {DeviceRegistry} from "../../../contracts/DeviceRegistry.sol";
import {PrintLicense} from "../../../contracts/PrintLicense.sol";
import {IPrintLicense} from "../../../contracts/interfaces/IPrintLicense.sol";
import {Ledger} from "./Ledger.sol";
import {GoodReceiver, ReentrantReceiver} from "./Receivers.sol";
import {Signatures} from "./Signatures.sol";
import {vm} from "./Vm.sol";

/// @notice A small world of people who do what they may and what they may not, in any order. Callers are picked
/// so that about half of all calls succeed; the ledger judges each one that does.
contract Handler is Ledger {
    /// @dev Keys 1 to 12: two owners, two further controllers, three wallets, three devices, two strangers.
    uint256 private constant PEOPLE = 12;
    uint256 private constant FILE = 0xf11e;

    GoodReceiver private _receiver = new GoodReceiver();
    ReentrantReceiver private _thief;
    /// @dev A signed batch entry from earlier on, for replays.
    IPrintLicense.SignedUse private _oldUse;
    IPrintLicense.SignedFailure private _oldFailure;
    uint96 private _numbers;

    constructor(DeviceRegistry devices_, PrintLicense licenses_) {
        (devices, licenses) = (devices_, licenses_);
        _thief = new ReentrantReceiver(licenses_, FILE, _person(5));
        _nested = address(_thief);
        for (uint256 i = 8; i <= 10; ++i) {
            _bindTo(_person(5 + i % 3), i);
        }
    }

    // --- issuing -----------------------------------------------------------------------------------------

    function issue(uint256 seed, uint8 path) external {
        IPrintLicense.Order memory order = _order(seed);
        if (path % 4 == 0) _do(_ownersSide(seed, order.owner), abi.encodeCall(licenses.issue, (order)));
        if (path % 4 == 1) _do(_ownersSide(seed, order.owner), abi.encodeCall(licenses.issueFor, (order)));
        if (path % 4 == 2) {
            IPrintLicense.Order[] memory orders = new IPrintLicense.Order[](1 + seed % 3);
            for (uint256 i = 0; i < orders.length; ++i) {
                orders[i] = _order(uint256(keccak256(abi.encode(seed, i))));
                if (seed % 5 != 0) orders[i].owner = order.owner;
            }
            _do(_ownersSide(seed, order.owner), abi.encodeCall(licenses.issueBatch, (orders)));
        }
        if (path % 4 == 3) {
            uint256 key = _pick(seed, "signer", 1, 4);
            bytes32 domain = Signatures.ofLicenses(address(licenses));
            _voucherSigner = vm.addr(key);
            bytes memory signature = Signatures.long(key, Signatures.digest(domain, Signatures.hashOf(order)));
            _do(_anybody(seed), abi.encodeCall(licenses.redeem, (order, signature)));
            _voucherSigner = address(0);
        }
    }

    // --- printing ----------------------------------------------------------------------------------------

    function use(uint256 seed) external {
        uint256 id = _license(seed);
        _do(_printersSide(seed, id), abi.encodeCall(licenses.useLicense, (id, _file(seed))));
    }

    function useAndLog(uint256 seed) external {
        uint256 id = _license(seed);
        uint256 copy = _accounts[id].used + (seed % 8 == 0 ? seed % 3 : 1);
        bytes32 data = keccak256(abi.encode(seed));
        _do(
            _printersSide(seed, id),
            abi.encodeCall(licenses.useLicenseAndLog, (id, _file(seed), copy, data, data, data))
        );
    }

    /// @dev A batch of uses of several licenses: right ones, wrong ones, and one from earlier on.
    function useSigned(uint256 seed) external {
        IPrintLicense.SignedUse[] memory uses = new IPrintLicense.SignedUse[](1 + seed % 5);
        for (uint256 i = 0; i < uses.length; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            IPrintLicense.SignedUse memory it;
            it.id = _license(dice);
            it.fileHash = _file(dice);
            it.copy = _accounts[it.id].used + 1 + (dice % 4 == 0 ? i : 0);
            it.commitment = bytes32(dice);
            it.deadline = block.timestamp + dice % 100 - (dice % 9 == 0 ? 200 : 0);
            bytes32 domain = Signatures.ofLicenses(dice % 11 == 0 ? address(devices) : address(licenses));
            (it.r, it.vs) =
                Signatures.compact(_printersKey(dice, it.id), Signatures.digest(domain, Signatures.hashOf(it)));
            if (dice % 13 == 0) it.vs = bytes32(dice);
            uses[i] = it;
        }
        if (seed % 3 == 0) uses[0] = _oldUse;
        _oldUse = uses[uses.length - 1];
        _do(_anybody(seed), abi.encodeCall(licenses.useLicensesSigned, (uses)));
    }

    function fail(uint256 seed) external {
        uint256 id = _license(seed);
        _do(_printersSide(seed, id), abi.encodeCall(licenses.reportFailure, (id, _copy(seed, id), bytes32(seed))));
    }

    function failSigned(uint256 seed) external {
        IPrintLicense.SignedFailure[] memory failures = new IPrintLicense.SignedFailure[](1 + seed % 5);
        for (uint256 i = 0; i < failures.length; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            IPrintLicense.SignedFailure memory it;
            it.id = _license(dice);
            it.copy = _copy(dice, it.id);
            it.deadline = block.timestamp + dice % 100 - (dice % 9 == 0 ? 200 : 0);
            bytes32 digest = Signatures.digest(Signatures.ofLicenses(address(licenses)), Signatures.hashOf(it));
            (it.r, it.vs) = Signatures.compact(_printersKey(dice, it.id), digest);
            failures[i] = it;
        }
        if (seed % 3 == 0) failures[0] = _oldFailure;
        _oldFailure = failures[failures.length - 1];
        _do(_anybody(seed), abi.encodeCall(licenses.reportFailuresSigned, (failures)));
    }

    // --- terms, transfers, owners ------------------------------------------------------------------------

    function grant(uint256 seed) external {
        uint256 id = _license(seed);
        uint16 copies = uint16(_pick(seed, "copies", 0, seed % 4 == 0 ? 65_535 : 5));
        uint16 forCopy = seed % 2 == 0 ? 0 : uint16(_copy(seed, id));
        _do(_ownersSide(seed, licenses.ownerOf(id)), abi.encodeCall(licenses.grantCopies, (id, copies, forCopy)));
    }

    function approveFile(uint256 seed) external {
        uint256 id = _license(seed);
        bytes memory call_ = abi.encodeCall(licenses.approveFile, (id, _file(seed), 0, seed % 3 != 0));
        _do(_ownersSide(seed, licenses.ownerOf(id)), call_);
    }

    function revoke(uint256 seed) external {
        // Seldom, or hardly any license would live long.
        if (seed % 4 != 0) return;
        uint256 id = _license(seed);
        _do(_ownersSide(seed, licenses.ownerOf(id)), abi.encodeCall(licenses.revoke, (id)));
    }

    function transfer(uint256 seed, uint8 path) external {
        uint256 id = _license(seed);
        address from = _accounts[id].printer;
        address to = _receiverOf(seed);
        uint256 value = seed % 6 == 0 ? seed % 4 : licenses.balanceOf(from, id);
        address caller = seed % 3 == 0 ? _anybody(seed) : from;
        uint256[] memory list = new uint256[](1);
        uint256[] memory values = new uint256[](1);
        (list[0], values[0]) = (id, value);
        if (path % 3 == 0) _do(caller, abi.encodeCall(licenses.transferLicense, (id, to)));
        if (path % 3 == 1) _do(caller, abi.encodeCall(licenses.safeTransferFrom, (from, to, id, value, "")));
        if (path % 3 == 2) {
            _do(caller, abi.encodeCall(licenses.safeBatchTransferFrom, (from, to, list, values, "")));
        }
    }

    function approveForAll(uint256 seed) external {
        _do(_anybody(seed), abi.encodeCall(licenses.setApprovalForAll, (_anybody(seed >> 8), seed % 3 == 0)));
    }

    function setOperator(uint256 seed) external {
        address owner = _owner(seed);
        uint64 until = uint64(block.timestamp + seed % 1000);
        uint8 rights = uint8(_pick(seed, "rights", 0, 17));
        bytes memory call_ = abi.encodeCall(licenses.setOperator, (owner, _anybody(seed >> 8), rights, until));
        _do(_ownersSide(seed, owner), call_);
    }

    function handOver(uint256 seed) external {
        if (seed % 4 != 0) return;
        address owner = _owner(seed >> 2);
        address to = _person(_pick(seed, "to", 1, 4));
        _do(_ownersSide(seed, owner), abi.encodeCall(licenses.offerControl, (owner, to)));
        _do(seed % 3 == 0 ? _anybody(seed) : to, abi.encodeCall(licenses.acceptControl, (owner)));
    }

    // --- devices and time --------------------------------------------------------------------------------

    function rebind(uint256 seed) external {
        uint256 key = _pick(seed, "device", 8, 10);
        address wallet = devices.walletOf(_person(key));
        if (wallet != address(0)) {
            vm.prank(wallet);
            devices.unbind(_person(key));
        }
        if (seed % 4 != 0) _bindTo(_person(_pick(seed, "wallet", 5, 7)), key);
    }

    function vouch(uint256 seed) external {
        address device = _person(_pick(seed, "device", 5, 10));
        address attestor = _person(_pick(seed, "attestor", 11, 12));
        vm.prank(attestor);
        if (seed % 4 != 0) devices.attest(device, bytes32(seed | 1));
        else try devices.retract(device) {} catch {}
        vm.prank(device);
        try devices.presentAttestor(device, attestor, seed % 5 != 0) {} catch {}
        vm.prank(_owner(seed >> 4));
        devices.acceptAttestor(attestor, seed % 6 != 0);
    }

    function wait(uint256 seed) external {
        vm.warp(block.timestamp + _pick(seed, "seconds", 0, 300));
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _do(address caller, bytes memory data) private {
        _caller = caller;
        vm.recordLogs();
        vm.prank(caller);
        (bool done,) = address(licenses).call(data);
        ++seen[done ? bytes32("done") : bytes32("refused")];
        if (done) _book(vm.getRecordedLogs());
    }

    function _bindTo(address wallet, uint256 key) private {
        address device = _person(key);
        bytes32 digest =
            Signatures.bindDigest(address(devices), wallet, device, devices.nonceOf(device), block.timestamp);
        bytes memory signature = Signatures.long(key, digest);
        vm.prank(wallet);
        devices.bind(device, block.timestamp, signature);
    }

    function _person(uint256 key) private pure returns (address) {
        return vm.addr(key);
    }

    function _anybody(uint256 seed) private pure returns (address) {
        return _person(_pick(seed, "anybody", 1, PEOPLE));
    }

    function _owner(uint256 seed) private pure returns (address) {
        return _person(_pick(seed, "owner", 1, 2));
    }

    function _ownersSide(uint256 seed, address owner) private view returns (address) {
        return uint256(keccak256(abi.encode(seed, "side"))) % 3 == 0 ? _anybody(seed) : controllerOf(owner);
    }

    function _printersKey(uint256 seed, uint256 id) private view returns (uint256) {
        uint256 dice = uint256(keccak256(abi.encode(seed, "printer"))) % 8;
        address printer = _accounts[id].printer;
        for (uint256 key = 1; key <= PEOPLE && dice > 1; ++key) {
            address it = _person(key);
            if (dice < 5 ? it == printer : devices.walletOf(it) == printer) return key;
        }
        return _pick(seed, "anybody", 1, PEOPLE);
    }

    function _printersSide(uint256 seed, uint256 id) private view returns (address) {
        return _person(_printersKey(seed, id));
    }

    function _receiverOf(uint256 seed) private view returns (address) {
        uint256 dice = _pick(seed, "receiver", 0, 12);
        if (dice == 0) return address(_receiver);
        if (dice == 12) return address(_thief);
        if (dice == 11) return address(0);
        return _person(5 + dice % 3);
    }

    /// @dev One of the licenses, seldom an id that isn't one.
    function _license(uint256 seed) private view returns (uint256) {
        uint256 dice = uint256(keccak256(abi.encode(seed, "license")));
        if (ids.length == 0 || dice % 16 == 0) return (uint256(uint160(_owner(seed))) << 96) | 0xffff;
        // Mostly the last six, so that single ones live through much.
        uint256 young = ids.length > 6 ? 6 : ids.length;
        return ids[ids.length - 1 - (dice >> 8) % young];
    }

    function _file(uint256 seed) private pure returns (uint256) {
        uint256 dice = uint256(keccak256(abi.encode(seed, "file"))) % 8;
        return dice == 0 ? 0 : dice == 1 ? FILE + 1 : FILE;
    }

    /// @dev Mostly one of the last copies.
    function _copy(uint256 seed, uint256 id) private view returns (uint256) {
        uint256 used = _accounts[id].used;
        uint256 age = _pick(seed, "age", 0, 17);
        return age > used ? used + 1 : used - age;
    }

    function _order(uint256 seed) private returns (IPrintLicense.Order memory order) {
        order.owner = _owner(seed);
        order.number = seed % 8 == 0 ? _numbers : ++_numbers;
        order.printer = _person(_pick(seed, "printer", 5, 7));
        order.fileHash = FILE;
        order.failuresAllowed = uint8(_pick(seed, "failures", 0, 20));
        order.copies = uint16(_pick(seed, "copies", 2, seed % 4 == 0 ? 65_535 - order.failuresAllowed : 20));
        order.flags = uint8(uint256(keccak256(abi.encode(seed, "flags"))) % 8);
        if (seed % 3 != 0) order.flags &= 3;
        if (seed % 4 == 1) order.validUntil = uint32(block.timestamp + seed % 5000);
        order.deadline = block.timestamp;
    }
}
