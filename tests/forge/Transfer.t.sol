// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {DeafReceiver, GoodReceiver, WrongReceiver} from "./support/Receivers.sol";
import {Scene} from "./support/Scene.sol";
import {vm} from "./support/Vm.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice `transferLicense`, `safeTransferFrom`, `safeBatchTransferFrom`, approvals; cases in Transfer.tree.
contract TransferTest is Scene {
    // --- what a transfer does ----------------------------------------------------------------------------

    function testFuzz_transferMovesTheWholeLicense(uint256 seed, uint8 flags, uint256 path, bool byApproved) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags % 8 | TRANSFERABLE);
        uint256 id = _put(it);
        address caller = byApproved ? portal : wallet;
        if (byApproved) _approve(portal);
        _expectEvent();
        emit IPrintLicense.LicenseTransferred(id, wallet, buyer);
        _expectEvent();
        if (path % 3 == 2) {
            emit IERC1155.TransferBatch(caller, wallet, buyer, _one(id), _one(it.remaining));
        } else {
            emit IERC1155.TransferSingle(caller, wallet, buyer, id, it.remaining);
        }
        _call(caller, _paths(id, wallet, buyer, it.remaining)[path % 3]);
        it.printer = buyer;
        it.failedWindow = type(uint16).max;
        _is(id, it);
        _equal(licenses.balanceOf(wallet, id), 0, "seller's balance");
    }

    function test_transferOfAnExpiredLicense() public {
        IPrintLicense.License memory it = _anyUsable(1, TRANSFERABLE);
        it.validUntil = uint32(NOW);
        uint256 id = _put(it);
        vm.warp(NOW + 1);
        _call(wallet, abi.encodeCall(licenses.transferLicense, (id, buyer)));
        _equal(licenses.licenseOf(id).printer, buyer, "printer");
    }

    function test_transferTellsAContract() public {
        GoodReceiver receiver = new GoodReceiver();
        uint256 id = _put(_anyUsable(1, TRANSFERABLE));
        uint256 value = licenses.licenseOf(id).remaining;
        bytes[3] memory paths = _paths(id, wallet, address(receiver), value);
        for (uint256 i = 0; i < 3; ++i) {
            _put(_anyUsable(1, TRANSFERABLE));
            _call(wallet, paths[i]);
            _equal(receiver.calls(), i + 1, "calls");
            _equal(receiver.lastData(), i == 0 ? bytes("") : bytes("data"), "data");
            _equal(licenses.balanceOf(address(receiver), id), value, "balance");
        }
    }

    function test_batchOfLicenses() public {
        IPrintLicense.License memory it = _anyUsable(1, TRANSFERABLE);
        uint256 id = _put(it);
        IPrintLicense.Order memory order = _order();
        order.number = 2;
        order.flags = TRANSFERABLE;
        vm.prank(owner);
        licenses.issue(order);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory values = new uint256[](2);
        (ids[0], ids[1], values[0], values[1]) = (id, _id(2), it.remaining, order.copies);
        _call(wallet, abi.encodeCall(licenses.safeBatchTransferFrom, (wallet, buyer, ids, values, "")));
        _equal(licenses.balanceOf(buyer, id), it.remaining, "first");
        _equal(licenses.balanceOf(buyer, _id(2)), order.copies, "second");
    }

    function test_batchMayBeEmpty() public {
        uint256[] memory none = new uint256[](0);
        _call(wallet, abi.encodeCall(licenses.safeBatchTransferFrom, (wallet, buyer, none, none, "")));
    }

    function test_batchRefusesTheSameLicenseTwice() public {
        uint256 id = _put(_anyUsable(1, TRANSFERABLE));
        uint256 value = licenses.licenseOf(id).remaining;
        uint256[] memory ids = new uint256[](2);
        uint256[] memory values = new uint256[](2);
        (ids[0], ids[1], values[0], values[1]) = (id, id, value, value);
        _refused(
            wallet,
            abi.encodeCall(licenses.safeBatchTransferFrom, (wallet, buyer, ids, values, "")),
            abi.encodeWithSelector(IERC1155Errors.ERC1155InsufficientBalance.selector, wallet, 0, value, id)
        );
    }

    // --- why a transfer is refused -----------------------------------------------------------------------

    function testFuzz_refusesOthers(uint256 seed, address caller) public {
        if (caller == wallet) return;
        IPrintLicense.License memory it = _anyUsable(seed, TRANSFERABLE);
        uint256 id = _put(it);
        _refusedOnAllPaths(
            id,
            caller,
            buyer,
            it.remaining,
            abi.encodeWithSelector(IERC1155Errors.ERC1155MissingApprovalForAll.selector, caller, wallet)
        );
    }

    function test_refusesOwnerAndDevice() public {
        IPrintLicense.License memory it = _anyUsable(1, TRANSFERABLE);
        uint256 id = _put(it);
        address[2] memory callers = [owner, device];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory error_ =
                abi.encodeWithSelector(IERC1155Errors.ERC1155MissingApprovalForAll.selector, callers[i], wallet);
            _refusedOnAllPaths(id, callers[i], buyer, it.remaining, error_);
        }
    }

    function test_refusesAWithdrawnApproval() public {
        IPrintLicense.License memory it = _anyUsable(1, TRANSFERABLE);
        uint256 id = _put(it);
        _approve(portal);
        vm.prank(wallet);
        licenses.setApprovalForAll(portal, false);
        bytes memory error_ =
            abi.encodeWithSelector(IERC1155Errors.ERC1155MissingApprovalForAll.selector, portal, wallet);
        _refusedOnAllPaths(id, portal, buyer, it.remaining, error_);
    }

    function testFuzz_refusesAnUnknownLicense(uint256 id, uint256 value) public {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotFound.selector, id);
        _refusedOnAllPaths(id, wallet, buyer, value, error_);
    }

    function testFuzz_refusesWhatSomebodyElseHolds(uint256 seed, uint256 value) public {
        uint256 id = _put(_anyUsable(seed, TRANSFERABLE));
        bytes memory error_ =
            abi.encodeWithSelector(IERC1155Errors.ERC1155InsufficientBalance.selector, stranger, 0, value, id);
        bytes[3] memory paths = _paths(id, stranger, buyer, value);
        _refused(stranger, paths[1], error_);
        _refused(stranger, paths[2], error_);
    }

    function testFuzz_refusesNobody(uint256 seed) public {
        IPrintLicense.License memory it = _anyUsable(seed, TRANSFERABLE);
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(0));
        _refusedOnAllPaths(id, wallet, address(0), it.remaining, error_);
    }

    function testFuzz_refusesARevokedLicense(uint256 seed) public {
        IPrintLicense.License memory it = _anyUsable(seed, TRANSFERABLE | REVOCABLE | REVOKED);
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseIsRevoked.selector, id);
        _refusedOnAllPaths(id, wallet, buyer, it.remaining, error_);
    }

    function testFuzz_refusesALicenseThatIsNotTransferable(uint256 seed, uint8 flags) public {
        IPrintLicense.License memory it = _anyUsable(seed, flags & 6);
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotTransferable.selector, id);
        _refusedOnAllPaths(id, wallet, buyer, it.remaining, error_);
    }

    function testFuzz_refusesAnExhaustedLicense(uint256 seed) public {
        IPrintLicense.License memory it = _any(seed, TRANSFERABLE);
        it.remaining = 0;
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseExhausted.selector, id);
        _refusedOnAllPaths(id, wallet, buyer, 0, error_);
    }

    function testFuzz_refusesAPart(uint256 seed, uint256 value) public {
        IPrintLicense.License memory it = _anyUsable(seed, TRANSFERABLE);
        if (value == it.remaining) return;
        uint256 id = _put(it);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.PartialTransfer.selector, id, value, it.remaining);
        bytes[3] memory paths = _paths(id, wallet, buyer, value);
        _refused(wallet, paths[1], error_);
        _refused(wallet, paths[2], error_);
    }

    function test_refusesAReceiverThatDoesNotTakeIt() public {
        IPrintLicense.License memory it = _anyUsable(1, TRANSFERABLE);
        uint256 id = _put(it);
        address[2] memory receivers = [address(new DeafReceiver()), address(new WrongReceiver())];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory error_ = abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, receivers[i]);
            _refusedOnAllPaths(id, wallet, receivers[i], it.remaining, error_);
        }
        _is(id, it);
    }

    function test_batchRefusesListsOfDifferentLength() public {
        uint256 id = _put(_anyUsable(1, TRANSFERABLE));
        bytes memory error_ = abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidArrayLength.selector, 1, 0);
        _refused(
            wallet,
            abi.encodeCall(licenses.safeBatchTransferFrom, (wallet, buyer, _one(id), new uint256[](0), "")),
            error_
        );
    }

    // --- approvals ---------------------------------------------------------------------------------------

    function testFuzz_approval(address operator, bool approved) public {
        if (operator == address(0)) return;
        _expectEvent();
        emit IERC1155.ApprovalForAll(wallet, operator, approved);
        _call(wallet, abi.encodeCall(licenses.setApprovalForAll, (operator, approved)));
        _true(licenses.isApprovedForAll(wallet, operator) == approved, "approved");
        _true(!licenses.isApprovedForAll(operator, wallet) || operator == wallet, "one way");
    }

    function test_approvalRefusesNobody() public {
        bytes memory error_ = abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidOperator.selector, address(0));
        _refused(wallet, abi.encodeCall(licenses.setApprovalForAll, (address(0), true)), error_);
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _approve(address operator) private {
        vm.prank(wallet);
        licenses.setApprovalForAll(operator, true);
    }

    function _one(uint256 value) private pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = value;
    }

    /// @dev The three ways to move a license; the first takes the value from the license.
    function _paths(uint256 id, address from, address to, uint256 value) private view returns (bytes[3] memory) {
        return [
            abi.encodeCall(licenses.transferLicense, (id, to)),
            abi.encodeCall(licenses.safeTransferFrom, (from, to, id, value, "data")),
            abi.encodeCall(licenses.safeBatchTransferFrom, (from, to, _one(id), _one(value), "data"))
        ];
    }

    function _refusedOnAllPaths(uint256 id, address caller, address to, uint256 value, bytes memory error_) private {
        bytes[3] memory paths = _paths(id, wallet, to, value);
        for (uint256 i = 0; i < 3; ++i) {
            _refused(caller, paths[i], error_);
        }
    }
}
