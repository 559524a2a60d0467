// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Scene} from "./support/Scene.sol";
import {vm} from "./support/Vm.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice `grantCopies`, `approveFile`, `revoke`: what the owner's side changes; cases in Terms.tree.
contract TermsTest is Scene {
    uint8 private constant GRANT = 2;
    uint8 private constant APPROVE_FILE = 4;
    uint8 private constant REVOKE = 8;

    // --- who may -----------------------------------------------------------------------------------------

    function testFuzz_refusesOthers(uint256 seed, address caller) public {
        if (caller == owner) return;
        uint256 id = _put(_anyUsable(seed, REVOCABLE));
        _refusedAll(id, caller);
    }

    function test_refusesThePrinter() public {
        uint256 id = _put(_anyUsable(1, REVOCABLE));
        _refusedAll(id, wallet);
        _refusedAll(id, device);
    }

    /// @dev Nobody owns an unknown id either.
    function testFuzz_refusesOthersForUnknownLicenses(uint256 id, address caller) public {
        if (caller == licenses.ownerOf(id)) return;
        _refused(
            caller,
            abi.encodeCall(licenses.revoke, (id)),
            abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, licenses.ownerOf(id), caller, REVOKE)
        );
    }

    /// @dev An operator does what the owner named and nothing else.
    function testFuzz_operatorStaysWithinRights(uint256 seed, uint8 rights) public {
        IPrintLicense.License memory it = _anyUsable(seed, REVOCABLE);
        (it.used, it.remaining) = (9, 9);
        uint256 id = _put(it);
        rights %= 16;
        _setOperator(portal, rights);
        bytes[3] memory calls = _calls(id);
        for (uint256 i = 0; i < 3; ++i) {
            uint8 right = uint8(2 << i);
            if (rights & right != 0) _call(portal, calls[i]);
            else _refused(portal, calls[i], _notAllowed(portal, right));
        }
    }

    function test_operatorEndsWithItsTime() public {
        uint256 id = _put(_anyUsable(1, REVOCABLE));
        _setOperator(portal, 15);
        vm.warp(NOW + 1);
        _refusedAll(id, portal);
        vm.warp(NOW);
        _setOperator(portal, 0);
        _refusedAll(id, portal);
    }

    function test_controllerActsForTheOwner() public {
        uint256 id = _put(_anyUsable(4, REVOCABLE));
        vm.prank(owner);
        licenses.offerControl(owner, buyer);
        vm.prank(buyer);
        licenses.acceptControl(owner);
        _refusedAll(id, owner);
        bytes[3] memory calls = _calls(id);
        for (uint256 i = 1; i < 3; ++i) {
            _call(buyer, calls[i]);
        }
    }

    function testFuzz_refusesAnUnknownLicense(uint96 number) public {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotFound.selector, _id(number));
        bytes[3] memory calls = _calls(_id(number));
        for (uint256 i = 0; i < 3; ++i) {
            _refused(owner, calls[i], error_);
        }
    }

    // --- grantCopies -------------------------------------------------------------------------------------

    function testFuzz_grantAddsCopies(uint256 seed, uint8 flags) public {
        IPrintLicense.License memory it = _any(seed, flags % 8);
        uint256 room = _room(it);
        if (room == 0) return;
        uint16 copies = uint16(_pick(seed, "granted", 1, room));
        uint256 id = _put(it);
        _expectGrant(id, copies, 0);
        _call(owner, abi.encodeCall(licenses.grantCopies, (id, copies, 0)));
        it.remaining += copies;
        _is(id, it);
    }

    function testFuzz_grantRefusesOneTooMany(uint256 seed, uint16 more) public {
        IPrintLicense.License memory it = _any(seed, 0);
        uint256 room = _room(it);
        uint256 copies = _pick(more, "too many", room + 1, room > 65_534 ? room + 1 : 65_535);
        if (copies > type(uint16).max) return;
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.TooManyCopies.selector, id, 65_535 - room + copies);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, uint16(copies), 0)), error_);
        _is(id, it);
    }

    function testFuzz_grantRefusesNoCopies(uint256 seed) public {
        uint256 id = _put(_any(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NoCopies.selector, id);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, 0, 0)), error_);
    }

    function testFuzz_grantRefusesARevokedLicense(uint256 seed, uint8 flags) public {
        uint256 id = _put(_any(seed, flags % 16 | REVOKED));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseIsRevoked.selector, id);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, 1, 0)), error_);
    }

    /// @dev A copy that was replaced can't be reported as failed any more, nor replaced twice.
    function testFuzz_grantClosesTheReplacedCopy(uint256 seed) public {
        (IPrintLicense.License memory it, uint256 copy) = _anyFailable(seed, 0);
        it.remaining = 0;
        if (_room(it) == 0) return;
        uint256 id = _put(it);
        _expectGrant(id, 1, uint16(copy));
        bytes memory grant = abi.encodeCall(licenses.grantCopies, (id, 1, uint16(copy)));
        _call(owner, grant);
        it.remaining += 1;
        it.failedWindow |= uint16(2 ** (it.used - copy));
        _is(id, it);

        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.CopyNotRefundable.selector, id, copy);
        _refused(wallet, abi.encodeCall(licenses.reportFailure, (id, copy, 0)), error_);
        if (_room(it) != 0) _refused(owner, grant, error_);
    }

    /// @dev Copies older than the window: the owner decides as often as she likes.
    function testFuzz_grantForAnOldCopy(uint256 seed, uint256 copy) public {
        IPrintLicense.License memory it = _any(seed, 0);
        it.used = uint16(_pick(seed, "used", 17, 65_000));
        it.remaining = 0;
        uint256 id = _put(it);
        copy = _pick(copy, "old copy", 1, it.used - 16);
        _call(owner, abi.encodeCall(licenses.grantCopies, (id, 2, uint16(copy))));
        it.remaining += 2;
        _is(id, it);
    }

    function testFuzz_grantRefusesACopyNotPrinted(uint256 seed, uint256 copy) public {
        IPrintLicense.License memory it = _any(seed, 0);
        if (_room(it) == 0 || it.used == type(uint16).max) return;
        uint256 id = _put(it);
        copy = _pick(copy, "future copy", uint256(it.used) + 1, type(uint16).max);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.CopyNotRefundable.selector, id, copy);
        _refused(owner, abi.encodeCall(licenses.grantCopies, (id, 1, uint16(copy))), error_);
    }

    // --- approveFile -------------------------------------------------------------------------------------

    function testFuzz_approveFileIsAnEventAndAnAnswer(uint256 seed, uint256 fileHash, bool approved, bytes32 manifest)
        public
    {
        if (fileHash == FILE || fileHash == 0) return;
        IPrintLicense.License memory it = _any(seed, 0);
        uint256 id = _put(it);
        _true(!licenses.checkHash(id, fileHash), "before");
        _expectEvent();
        emit IPrintLicense.FileApproved(id, fileHash, manifest, approved);
        _call(owner, abi.encodeCall(licenses.approveFile, (id, fileHash, manifest, approved)));
        _true(licenses.checkHash(id, fileHash) == approved, "after");
        _true(licenses.checkHash(id, FILE), "the licensed one");
        _is(id, it);
    }

    function testFuzz_approveFileRefusesTheHashZero(uint256 seed, bool approved) public {
        uint256 id = _put(_any(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileHashIsZero.selector, id);
        _refused(owner, abi.encodeCall(licenses.approveFile, (id, 0, MANIFEST, approved)), error_);
    }

    /// @dev Or its withdrawal would seem to forbid the licensed file.
    function testFuzz_approveFileRefusesTheLicensedOne(uint256 seed, bool approved) public {
        uint256 id = _put(_any(seed, 0));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.FileIsTheLicensedOne.selector, id, FILE);
        _refused(owner, abi.encodeCall(licenses.approveFile, (id, FILE, MANIFEST, approved)), error_);
    }

    // --- revoke ------------------------------------------------------------------------------------------

    function testFuzz_revokeForfeitsWhatIsLeft(uint256 seed, uint8 flags) public {
        IPrintLicense.License memory it = _any(seed, flags % 8 | REVOCABLE);
        uint256 id = _put(it);
        _expectEvent();
        emit IPrintLicense.LicenseRevoked(id, it.remaining);
        _expectEvent();
        emit IERC1155.TransferSingle(owner, wallet, address(0), id, it.remaining);
        _call(owner, abi.encodeCall(licenses.revoke, (id)));
        it.remaining = 0;
        it.flags |= REVOKED;
        _is(id, it);
    }

    function testFuzz_revokeRefusesAnIrrevocableLicense(uint256 seed, uint8 flags) public {
        uint256 id = _put(_any(seed, flags & 5));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotRevocable.selector, id);
        _refused(owner, abi.encodeCall(licenses.revoke, (id)), error_);
    }

    function testFuzz_revokeOnce(uint256 seed) public {
        uint256 id = _put(_any(seed, REVOCABLE));
        _call(owner, abi.encodeCall(licenses.revoke, (id)));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseIsRevoked.selector, id);
        _refused(owner, abi.encodeCall(licenses.revoke, (id)), error_);
    }

    // --- internal ----------------------------------------------------------------------------------------

    /// @dev How many copies can still be granted.
    function _room(IPrintLicense.License memory it) private pure returns (uint256) {
        return 65_535 - (uint256(it.used) + it.remaining + (it.failuresAllowed - it.failed));
    }

    /// @dev One call for each of the rights 2, 4 and 8.
    function _calls(uint256 id) private view returns (bytes[3] memory) {
        return [
            abi.encodeCall(licenses.grantCopies, (id, 1, 0)),
            abi.encodeCall(licenses.approveFile, (id, OTHER_FILE, MANIFEST, true)),
            abi.encodeCall(licenses.revoke, (id))
        ];
    }

    function _refusedAll(uint256 id, address caller) private {
        bytes[3] memory calls = _calls(id);
        for (uint256 i = 0; i < 3; ++i) {
            _refused(caller, calls[i], _notAllowed(caller, uint8(2 << i)));
        }
    }

    function _notAllowed(address caller, uint8 right) private view returns (bytes memory) {
        return abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, caller, right);
    }

    function _expectGrant(uint256 id, uint16 copies, uint16 forCopy) private {
        _expectEvent();
        emit IPrintLicense.CopiesGranted(id, copies, forCopy);
        _expectEvent();
        emit IERC1155.TransferSingle(owner, address(0), wallet, id, copies);
    }
}
