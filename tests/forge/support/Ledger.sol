// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {DeviceRegistry} from "../../../contracts/DeviceRegistry.sol";
import {PrintLicense} from "../../../contracts/PrintLicense.sol";
import {IPrintLicense} from "../../../contracts/interfaces/IPrintLicense.sol";
import {Assertions} from "./Assertions.sol";
import {Vm, vm} from "./Vm.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice What an auditor knows who reads nothing but events: a second bookkeeping of every license, one number
/// for each thing that was issued, granted, failed and forfeited. Each event is checked against the rules before
/// it is believed.
abstract contract Ledger is Assertions {
    struct Account {
        address printer;
        uint256 fileHash;
        uint256 issued;
        uint256 granted;
        uint256 failed;
        uint256 forfeited;
        uint256 used;
        uint256 serials;
        uint256 closedUpTo;
        uint256 validUntil;
        uint8 flags;
        uint8 failuresAllowed;
        bool revoked;
        uint256 usedWhenRevoked;
    }

    uint8 internal constant TRANSFERABLE = 1;
    uint8 internal constant REVOCABLE = 2;
    uint8 internal constant TRUSTED_DEVICE = 4;

    DeviceRegistry internal devices;
    PrintLicense internal licenses;

    uint256[] public ids;
    mapping(uint256 id => Account) internal _accounts;
    mapping(uint256 id => mapping(uint256 copy => bool)) internal _closed;
    mapping(uint256 id => mapping(uint256 copy => uint256)) internal _serialsOf;
    mapping(uint256 id => mapping(uint256 fileHash => bool)) internal _approved;
    /// @dev Balances as a wallet shows them that knows ERC-1155 only.
    mapping(uint256 id => mapping(address account => uint256)) public balances;

    /// @dev Who acts for an owner, from events.
    mapping(address owner => address) internal _controllers;
    mapping(address owner => mapping(address operator => uint8)) internal _rights;
    mapping(address owner => mapping(address operator => uint64)) internal _until;
    mapping(address holder => mapping(address operator => bool)) internal _operators;
    mapping(bytes32 name => uint256) public seen;

    /// @dev Who called, and whether a signed consent was part of the call.
    address internal _caller;
    address internal _voucherSigner;
    /// @dev A contract that sends on its own while it receives.
    address internal _nested;

    function count() external view returns (uint256) {
        return ids.length;
    }

    function account(uint256 id) external view returns (Account memory) {
        return _accounts[id];
    }

    function controllerOf(address owner) public view returns (address) {
        return _controllers[owner] == address(0) ? owner : _controllers[owner];
    }

    /// @dev Books all events of one call.
    function _book(Vm.Log[] memory logs) internal {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(licenses)) continue;
            bytes32 kind = logs[i].topics[0];
            uint256 id = logs[i].topics.length > 1 ? uint256(logs[i].topics[1]) : 0;
            if (kind == IPrintLicense.LicenseIssued.selector) _bookIssue(id, logs[i]);
            else if (kind == IPrintLicense.LicenseUsed.selector) _bookUse(id, logs[i]);
            else if (kind == IPrintLicense.PrintLogged.selector) _bookSerial(id, logs[i], logs[i + 1]);
            else if (kind == IPrintLicense.PrintFailed.selector) _bookFailure(id, logs[i]);
            else if (kind == IPrintLicense.CopiesGranted.selector) _bookGrant(id, logs[i]);
            else if (kind == IPrintLicense.FileApproved.selector) _bookFile(id, logs[i]);
            else if (kind == IPrintLicense.LicenseRevoked.selector) _bookRevocation(id, logs[i]);
            else if (kind == IPrintLicense.LicenseTransferred.selector) _bookTransfer(id, logs[i]);
            else if (kind == IPrintLicense.OperatorSet.selector) _bookOperator(logs[i]);
            else if (kind == IPrintLicense.ControlTransferred.selector) _bookControl(logs[i]);
            else if (kind == IERC1155.TransferSingle.selector) _bookMove(logs[i]);
            else if (kind == IERC1155.TransferBatch.selector) _bookMoves(logs[i]);
            else if (kind == IERC1155.ApprovalForAll.selector) _bookApproval(logs[i]);
        }
    }

    function _bookIssue(uint256 id, Vm.Log memory log) private {
        address owner = address(uint160(id >> 96));
        bool byVoucher = _voucherSigner != address(0) && _voucherSigner == controllerOf(owner);
        _true(byVoucher || _may(owner, 1), "issued without the owner's consent");
        Account storage it = _accounts[id];
        _equal(it.printer, address(0), "a number was issued twice");
        ids.push(id);
        (uint16 copies, uint32 validUntil, uint8 flags, uint8 failuresAllowed,) =
            abi.decode(log.data, (uint16, uint32, uint8, uint8, bytes32));
        it.printer = _address(log.topics[2]);
        it.fileHash = uint256(log.topics[3]);
        (it.issued, it.validUntil, it.flags, it.failuresAllowed) = (copies, validUntil, flags, failuresAllowed);
        ++seen["issued"];
    }

    function _bookUse(uint256 id, Vm.Log memory log) private {
        Account storage it = _accounts[id];
        (uint16 copy, uint256 fileHash,) = abi.decode(log.data, (uint16, uint256, bytes32));
        address device = _address(log.topics[2]);
        _true(device == it.printer || devices.walletOf(device) == it.printer, "consumed by a stranger");
        _true(!it.revoked, "consumed after revocation");
        _true(it.validUntil == 0 || block.timestamp <= it.validUntil, "consumed after expiry");
        _true(fileHash == it.fileHash || _approved[id][fileHash], "consumed with another file");
        bool needsTrust = it.flags & TRUSTED_DEVICE != 0;
        _true(
            !needsTrust || _isTrusted(device, licenses.controllerOf(address(uint160(id >> 96)))),
            "consumed by an untrusted device"
        );
        _equal(copy, it.used + 1, "copies are counted one by one");
        it.used = copy;
        ++seen["used"];
    }

    function _bookSerial(uint256 id, Vm.Log memory log, Vm.Log memory next) private {
        (uint16 copy,) = abi.decode(log.data, (uint16, bytes32));
        _equal(copy, _accounts[id].used, "serial of the copy that was consumed");
        _equal(next.topics[0], IPrintLicense.SerialRegistered.selector, "log entries are adjacent");
        ++_serialsOf[id][copy];
        _equal(_serialsOf[id][copy], 1, "one serial a copy");
        ++_accounts[id].serials;
        ++seen["serial"];
    }

    function _bookFailure(uint256 id, Vm.Log memory log) private {
        Account storage it = _accounts[id];
        (uint16 copy,) = abi.decode(log.data, (uint16, bytes32));
        _true(copy >= 1 && copy <= it.used && it.used - copy < 16, "failed copy in the window");
        _true(copy > it.closedUpTo && !_closed[id][copy], "a copy failed twice, or after it was closed");
        _closed[id][copy] = true;
        ++it.failed;
        if (it.revoked) ++it.forfeited;
        ++seen[it.revoked ? bytes32("failed when revoked") : bytes32("failed")];
    }

    function _bookGrant(uint256 id, Vm.Log memory log) private {
        _true(_may(address(uint160(id >> 96)), 2), "granted without the owner's consent");
        (uint16 copies, uint16 forCopy) = abi.decode(log.data, (uint16, uint16));
        Account storage it = _accounts[id];
        _true(!it.revoked, "granted after revocation");
        it.granted += copies;
        if (forCopy != 0 && it.used - forCopy < 16) {
            _true(forCopy > it.closedUpTo && !_closed[id][forCopy], "replaced twice");
            _closed[id][forCopy] = true;
        }
        ++seen["granted"];
    }

    function _bookFile(uint256 id, Vm.Log memory log) private {
        _true(_may(address(uint160(id >> 96)), 4), "file approved without the owner's consent");
        _approved[id][uint256(log.topics[2])] = abi.decode(log.data, (bool));
        ++seen["file"];
    }

    function _bookRevocation(uint256 id, Vm.Log memory log) private {
        _true(_may(address(uint160(id >> 96)), 8), "revoked without the owner's consent");
        Account storage it = _accounts[id];
        _true(it.flags & REVOCABLE != 0, "revoked although irrevocable");
        _true(!it.revoked, "revoked twice");
        (it.revoked, it.usedWhenRevoked) = (true, it.used);
        it.forfeited += abi.decode(log.data, (uint16));
        ++seen["revoked"];
    }

    function _bookTransfer(uint256 id, Vm.Log memory log) private {
        Account storage it = _accounts[id];
        (address from, address to) = (_address(log.topics[2]), _address(log.topics[3]));
        _equal(from, it.printer, "transferred from somebody else");
        bool consented = _caller == from || _operators[from][_caller] || from == _nested;
        _true(consented, "transferred without the holder's consent");
        _true(it.flags & TRANSFERABLE != 0 && !it.revoked, "transferred although it can't be");
        (it.printer, it.closedUpTo) = (to, it.used);
        ++seen["transferred"];
    }

    function _bookOperator(Vm.Log memory log) private {
        address owner = _address(log.topics[1]);
        _equal(_caller, controllerOf(owner), "operator set by a stranger");
        (uint8 rights, uint64 until) = abi.decode(log.data, (uint8, uint64));
        _rights[owner][_address(log.topics[2])] = rights;
        _until[owner][_address(log.topics[2])] = until;
        ++seen["operator"];
    }

    function _bookControl(Vm.Log memory log) private {
        address owner = _address(log.topics[1]);
        _equal(_address(log.topics[2]), controllerOf(owner), "control handed over by somebody else");
        _equal(_address(log.topics[3]), _caller, "control taken by somebody else");
        _controllers[owner] = _caller;
        ++seen["control"];
    }

    function _bookApproval(Vm.Log memory log) private {
        _equal(_address(log.topics[1]), _caller, "approved by somebody else");
        _operators[_caller][_address(log.topics[2])] = abi.decode(log.data, (bool));
    }

    function _bookMove(Vm.Log memory log) private {
        (uint256 id, uint256 value) = abi.decode(log.data, (uint256, uint256));
        _move(id, _address(log.topics[2]), _address(log.topics[3]), value);
    }

    function _bookMoves(Vm.Log memory log) private {
        (uint256[] memory moved, uint256[] memory values) = abi.decode(log.data, (uint256[], uint256[]));
        for (uint256 i = 0; i < moved.length; ++i) {
            _move(moved[i], _address(log.topics[2]), _address(log.topics[3]), values[i]);
        }
    }

    function _move(uint256 id, address from, address to, uint256 value) private {
        // Checked arithmetic: who burns or sends more than there is fails here.
        if (from != address(0)) balances[id][from] -= value;
        if (to != address(0)) balances[id][to] += value;
    }

    function _may(address owner, uint8 right) private view returns (bool) {
        if (_caller == controllerOf(owner)) return true;
        return _rights[owner][_caller] & right != 0 && block.timestamp <= _until[owner][_caller];
    }

    /// @dev The rule in other words than the contract's.
    function _isTrusted(address device, address owner) private view returns (bool found) {
        address[] memory shown = devices.attestorsOf(device);
        for (uint256 i = 0; i < shown.length; ++i) {
            bool stated = devices.attestationOf(shown[i], device) != bytes32(0);
            found = found || (stated && devices.acceptsAttestor(owner, shown[i]));
        }
    }

    function _address(bytes32 topic) private pure returns (address) {
        return address(uint160(uint256(topic)));
    }
}
