// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {PrintLicense} from "../../contracts/PrintLicense.sol";
import {IDeviceRegistry} from "../../contracts/interfaces/IDeviceRegistry.sol";
import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";

/// @notice The cheatcodes that these proofs use.
interface Vm {
    function assume(bool condition) external;
    function prank(address caller) external;
    function warp(uint256 timestamp) external;
}

interface SymbolicVm {
    function enableSymbolicStorage(address account) external;
}

/// @notice A registry that answers anything: what is proven holds whatever devices and attestors do.
contract AnyDevices {
    mapping(address device => address) public walletOf;
    mapping(address device => mapping(address owner => bool)) public isTrusted;
}

/// @notice For every content of the storage, every caller and every argument. `_step` is any one direct call; the
/// entries of signed batches go through the same internal functions, and are fuzzed.
contract PrintLicenseProofs {
    Vm private constant _VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    SymbolicVm private constant _SVM = SymbolicVm(address(uint160(uint256(keccak256("svm cheat code")))));

    uint8 private constant REVOKED = 8;
    uint256 private constant ACTIONS = 8;

    PrintLicense private _licenses;
    AnyDevices private _devices;

    struct Call {
        uint8 action;
        address caller;
        uint256 id;
        uint256 fileHash;
        uint256 copy;
        uint16 copies;
        uint16 forCopy;
        bool approved;
        address to;
    }

    function setUp() public {
        _devices = new AnyDevices();
        _licenses = new PrintLicense(IDeviceRegistry(address(_devices)));
        _SVM.enableSymbolicStorage(address(_licenses));
        _SVM.enableSymbolicStorage(address(_devices));
    }

    /// @dev "No stranger changes a license": not the owner's side, not the printer's, not approved by the holder.
    function check_noStrangerChangesALicense(Call memory it, uint64 time) external {
        _VM.warp(time);
        IPrintLicense.License memory before = _license(it.id);
        address owner = _licenses.ownerOf(it.id);
        (uint8 rights,) = _licenses.operatorOf(owner, it.caller);
        _VM.assume(it.caller != _licenses.controllerOf(owner) && rights == 0);
        _VM.assume(it.caller != before.printer && _devices.walletOf(it.caller) != before.printer);
        _VM.assume(!_licenses.isApprovedForAll(before.printer, it.caller));
        assert(!_step(it));
    }

    /// @dev Nor does a call for one license change another one.
    function check_noCallChangesAnotherLicense(Call memory it, uint256 other, uint64 time) external {
        _VM.warp(time);
        _VM.assume(other != it.id);
        IPrintLicense.License memory before = _license(other);
        if (!_step(it)) return;
        _same(before, _licenses.licenseOf(other));
    }

    /// @dev "A use needs the right hash", a copy that is left, and no revocation or expiry.
    function check_useNeedsTheRightHash(Call memory it, uint64 time) external {
        _VM.warp(time);
        _VM.assume(it.action < 2);
        IPrintLicense.License memory before = _license(it.id);
        bool isTheFile = it.fileHash != 0 && _licenses.checkHash(it.id, it.fileHash);
        if (!_step(it)) return;
        assert(isTheFile);
        assert(before.remaining != 0);
    }

    function check_noUseAfterRevocationOrExpiry(Call memory it, uint64 time) external {
        _VM.warp(time);
        IPrintLicense.License memory before = _license(it.id);
        bool expired = before.validUntil != 0 && time > before.validUntil;
        _VM.assume(before.flags & REVOKED != 0 || expired);
        if (!_step(it)) return;
        assert(it.action >= 2);
        assert(_licenses.licenseOf(it.id).used == before.used);
    }

    /// @dev Only the wallet, or a device that it bound, consumes; with the counters moving by one.
    function check_onlyThePrinterConsumes(Call memory it, uint64 time) external {
        _VM.warp(time);
        IPrintLicense.License memory before = _license(it.id);
        bool acts = it.caller == before.printer || _devices.walletOf(it.caller) == before.printer;
        if (!_step(it)) return;
        IPrintLicense.License memory now_ = _licenses.licenseOf(it.id);
        if (now_.used == before.used) return;
        assert(acts);
        assert(uint256(now_.used) == uint256(before.used) + 1);
        assert(uint256(now_.remaining) + 1 == before.remaining);
    }

    /// @dev `used` never decreases, `failed` stays bounded, and what can ever come to be used fits its field.
    function check_countersStayInBounds(Call memory it, uint64 time) external {
        _VM.warp(time);
        IPrintLicense.License memory before = _license(it.id);
        if (!_step(it)) return;
        IPrintLicense.License memory now_ = _licenses.licenseOf(it.id);
        assert(now_.used >= before.used);
        assert(now_.failed >= before.failed && now_.failed <= now_.failuresAllowed);
        assert(_most(now_) <= type(uint16).max);
        assert(now_.fileHash == before.fileHash && now_.validUntil == before.validUntil);
        assert(now_.failuresAllowed == before.failuresAllowed);
        assert(now_.flags == before.flags || now_.flags == before.flags | REVOKED);
    }

    /// @dev A copy fails at most once: whatever is closed in the window was not just given back.
    function check_noCopyFailsTwice(address caller, uint256 id, uint256 copy, bytes32 evidence) external {
        IPrintLicense.License memory before = _license(id);
        _VM.prank(caller);
        try _licenses.reportFailure(id, copy, evidence) {
            assert(copy >= 1 && copy <= before.used && before.used - copy < 16);
            uint256 bit = 1 << (before.used - copy);
            assert(before.failedWindow & bit == 0);
            assert(_licenses.licenseOf(id).failedWindow & bit != 0);
        } catch {}
    }

    /// @dev An id belongs to the account in its upper bits: only its side issues it, and no issued one again.
    function check_idsBelongToTheirOwners(IPrintLicense.Order memory order, address caller, bool asOperator)
        external
    {
        uint256 id = (uint256(uint160(order.owner)) << 96) | order.number;
        (uint8 rights, uint64 until) = _licenses.operatorOf(order.owner, caller);
        bool isOperator = rights & 1 != 0 && block.timestamp <= until;
        bool isController = caller == _licenses.controllerOf(order.owner);
        bool existed = _exists(id);
        _VM.prank(caller);
        bytes memory data =
            asOperator ? abi.encodeCall(_licenses.issueFor, (order)) : abi.encodeCall(_licenses.issue, (order));
        (bool done,) = address(_licenses).call(data);
        if (!done) return;
        assert(asOperator ? isOperator : isController);
        assert(!existed);
        assert(_licenses.ownerOf(id) == order.owner);
        IPrintLicense.License memory it = _licenses.licenseOf(id);
        assert(it.printer == order.printer && it.fileHash == order.fileHash && it.remaining == order.copies);
        assert(it.flags == order.flags && it.flags < REVOKED && it.used == 0 && it.failed == 0);
        assert(_most(it) <= type(uint16).max);
    }

    // --- internal ----------------------------------------------------------------------------------------

    /// @dev One direct call that could touch license `it.id`; whether it went through.
    function _step(Call memory it) private returns (bool done) {
        _VM.assume(it.action < ACTIONS);
        bytes memory data;
        if (it.action == 0) {
            data = abi.encodeCall(_licenses.useLicense, (it.id, it.fileHash));
        } else if (it.action == 1) {
            data = abi.encodeCall(_licenses.useLicenseAndLog, (it.id, it.fileHash, it.copy, 0, 0, 0));
        } else if (it.action == 2) {
            data = abi.encodeCall(_licenses.reportFailure, (it.id, it.copy, 0));
        } else if (it.action == 3) {
            data = abi.encodeCall(_licenses.grantCopies, (it.id, it.copies, it.forCopy));
        } else if (it.action == 4) {
            data = abi.encodeCall(_licenses.approveFile, (it.id, it.fileHash, 0, it.approved));
        } else if (it.action == 5) {
            data = abi.encodeCall(_licenses.revoke, (it.id));
        } else if (it.action == 6) {
            data = abi.encodeCall(_licenses.transferLicense, (it.id, it.to));
        } else {
            data = abi.encodeCall(
                _licenses.safeTransferFrom, (_licenses.licenseOf(it.id).printer, it.to, it.id, it.copy, "")
            );
        }
        // Receivers that are contracts are fuzzed.
        if (it.action > 5) _VM.assume(it.to.code.length == 0);
        _VM.prank(it.caller);
        (done,) = address(_licenses).call(data);
    }

    /// @dev A license that calls can have led to. The two bounds are kept by every step: see
    /// `check_countersStayInBounds`, and `check_idsBelongToTheirOwners` for the first one.
    function _license(uint256 id) private returns (IPrintLicense.License memory) {
        _VM.assume(_exists(id));
        IPrintLicense.License memory it = _licenses.licenseOf(id);
        // The storage is arbitrary: a word without a printer exists in no history.
        _VM.assume(it.printer != address(0));
        _VM.assume(it.failed <= it.failuresAllowed);
        _VM.assume(_most(it) <= type(uint16).max);
        return it;
    }

    function _exists(uint256 id) private view returns (bool) {
        (, bytes4 reason) = _licenses.canUse(id, 0, address(0));
        return reason != IPrintLicense.LicenseNotFound.selector;
    }

    function _most(IPrintLicense.License memory it) private pure returns (uint256) {
        return uint256(it.used) + it.remaining + it.failuresAllowed - it.failed;
    }

    function _same(IPrintLicense.License memory a, IPrintLicense.License memory b) private pure {
        assert(a.printer == b.printer && a.validUntil == b.validUntil && a.flags == b.flags);
        assert(a.remaining == b.remaining && a.used == b.used && a.failedWindow == b.failedWindow);
        assert(a.failuresAllowed == b.failuresAllowed && a.failed == b.failed && a.fileHash == b.fileHash);
    }
}
