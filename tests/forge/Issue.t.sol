// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {ContractOwner} from "./support/Receivers.sol";
import {Scene} from "./support/Scene.sol";
import {Signatures} from "./support/Signatures.sol";
import {Vm, vm} from "./support/Vm.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

/// @notice `issue`, `issueFor`, `issueBatch`, `redeem`; cases in Issue.tree.
contract IssueTest is Scene {
    uint8 private constant ISSUE = 1;

    // --- what an order leads to --------------------------------------------------------------------------

    function testFuzz_issueStoresTheOrder(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        _expectIssue(order, owner);
        _call(owner, abi.encodeCall(licenses.issue, (order)));
        _isIssued(order);
    }

    function testFuzz_issueForStoresTheOrder(uint256 seed, uint8 otherRights) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        _setOperator(portal, otherRights % 16 | ISSUE);
        _expectIssue(order, portal);
        _call(portal, abi.encodeCall(licenses.issueFor, (order)));
        _isIssued(order);
    }

    function testFuzz_redeemStoresTheOrder(uint256 seed, address anybody) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        bytes memory signature = _sign(OWNER_KEY, order);
        _expectIssue(order, anybody);
        _call(anybody, abi.encodeCall(licenses.redeem, (order, signature)));
        _isIssued(order);
    }

    function testFuzz_issueBatchStoresEveryOrder(uint256 seed, uint8 count) public {
        IPrintLicense.Order[] memory orders = new IPrintLicense.Order[](count % 5);
        for (uint256 i = 0; i < orders.length; ++i) {
            orders[i] = _orderAny(seed ^ i);
            orders[i].number = uint96(i);
        }
        for (uint256 i = 0; i < orders.length; ++i) {
            _expectIssue(orders[i], owner);
        }
        vm.prank(owner);
        uint256[] memory ids = licenses.issueBatch(orders);
        _equal(ids.length, orders.length, "ids");
        for (uint256 i = 0; i < orders.length; ++i) {
            _equal(ids[i], _id(orders[i].number), "id");
            _isIssued(orders[i]);
        }
    }

    function test_issueEmitsTwoEventsAndCallsNobody() public {
        vm.recordLogs();
        _call(owner, abi.encodeCall(licenses.issue, (_order())));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _equal(logs.length, 2, "events");
        _equal(logs[0].topics[0], IPrintLicense.LicenseIssued.selector, "first");
        _equal(logs[1].topics[0], IERC1155.TransferSingle.selector, "second");
    }

    // --- who may -----------------------------------------------------------------------------------------

    function testFuzz_issueRefusesOthers(address caller) public {
        if (caller == owner) return;
        _refused(caller, abi.encodeCall(licenses.issue, (_order())), _notAllowed(caller));
    }

    function test_issueRefusesAnOperator() public {
        _setOperator(portal, ISSUE);
        _refused(portal, abi.encodeCall(licenses.issue, (_order())), _notAllowed(portal));
    }

    function testFuzz_issueForRefusesWithoutTheRight(uint8 rights) public {
        _setOperator(portal, rights & 14);
        _refused(portal, abi.encodeCall(licenses.issueFor, (_order())), _notAllowed(portal));
    }

    function testFuzz_issueForRefusesTooLate(uint64 until) public {
        until %= uint64(NOW);
        vm.prank(owner);
        licenses.setOperator(owner, portal, ISSUE, until);
        _refused(portal, abi.encodeCall(licenses.issueFor, (_order())), _notAllowed(portal));
    }

    function test_issueForLastsUntilItsLastSecond() public {
        _setOperator(portal, ISSUE);
        IPrintLicense.Order memory order = _order();
        _call(portal, abi.encodeCall(licenses.issueFor, (order)));
        vm.warp(NOW + 1);
        order.number = 2;
        order.deadline = NOW + 1;
        _refused(portal, abi.encodeCall(licenses.issueFor, (order)), _notAllowed(portal));
    }

    function test_issueForRefusesTheOwner() public {
        _refused(owner, abi.encodeCall(licenses.issueFor, (_order())), _notAllowed(owner));
    }

    function test_issueForRefusesAnotherOwnersOperator() public {
        vm.prank(stranger);
        licenses.setOperator(stranger, portal, ISSUE, uint64(NOW));
        _refused(portal, abi.encodeCall(licenses.issueFor, (_order())), _notAllowed(portal));
    }

    function test_issueBatchTakesAnOperator() public {
        _setOperator(portal, ISSUE);
        _call(portal, abi.encodeCall(licenses.issueBatch, (_two())));
        _isIssued(_two()[0]);
        _isIssued(_two()[1]);
    }

    function testFuzz_issueBatchRefusesOthers(address caller) public {
        if (caller == owner) return;
        _refused(caller, abi.encodeCall(licenses.issueBatch, (_two())), _notAllowed(caller));
    }

    /// @dev The consent of one owner must not be taken for that of the next.
    function test_issueBatchAsksEveryOwner() public {
        IPrintLicense.Order[] memory orders = _two();
        orders[1].owner = stranger;
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, stranger, owner, ISSUE);
        _refused(owner, abi.encodeCall(licenses.issueBatch, (orders)), error_);

        vm.prank(stranger);
        licenses.setOperator(stranger, owner, ISSUE, uint64(NOW));
        _call(owner, abi.encodeCall(licenses.issueBatch, (orders)));
        _equal(licenses.balanceOf(wallet, _id(1)), 3, "of the owner");
        _equal(licenses.balanceOf(wallet, _idOf(stranger, 2)), 3, "of the other");
    }

    /// @dev Owner zero must not pass as the owner that was checked before the first order.
    function test_issueBatchAsksOwnerZero() public {
        IPrintLicense.Order[] memory orders = _two();
        orders[0].owner = address(0);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, address(0), owner, ISSUE);
        _refused(owner, abi.encodeCall(licenses.issueBatch, (orders)), error_);
    }

    function test_issueBatchIsAllOrNothing() public {
        IPrintLicense.Order[] memory orders = _two();
        orders[1].copies = 0;
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NoCopies.selector, _id(2));
        _refused(owner, abi.encodeCall(licenses.issueBatch, (orders)), error_);
        _equal(licenses.balanceOf(wallet, _id(1)), 0, "first");
    }

    function test_issueFollowsTheController() public {
        _handOver(portal);
        _refused(owner, abi.encodeCall(licenses.issue, (_order())), _notAllowed(owner));
        _call(portal, abi.encodeCall(licenses.issue, (_order())));
        _isIssued(_order());
    }

    // --- what an order may say ---------------------------------------------------------------------------

    function testFuzz_refusesALateOrder(uint256 seed, uint256 deadline) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.deadline = deadline % NOW;
        _refusedOnAllPaths(
            order, abi.encodeWithSelector(IPrintLicense.OrderExpired.selector, _id(order.number), order.deadline)
        );
    }

    function testFuzz_refusesNoPrinter(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.printer = address(0);
        _refusedOnAllPaths(order, _error(IPrintLicense.InvalidPrinter.selector, order));
    }

    function testFuzz_refusesNoFile(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.fileHash = 0;
        _refusedOnAllPaths(order, _error(IPrintLicense.FileHashIsZero.selector, order));
    }

    function testFuzz_refusesNoCopies(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.copies = 0;
        _refusedOnAllPaths(order, _error(IPrintLicense.NoCopies.selector, order));
    }

    function testFuzz_refusesUnknownFlags(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.flags = uint8(_pick(seed, "wrong flags", 8, 255));
        _refusedOnAllPaths(
            order, abi.encodeWithSelector(IPrintLicense.InvalidFlags.selector, _id(order.number), order.flags)
        );
    }

    function testFuzz_refusesTooManyFailures(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.failuresAllowed = uint8(_pick(seed, "too many", 64, 255));
        _refusedOnAllPaths(
            order,
            abi.encodeWithSelector(IPrintLicense.TooManyFailures.selector, _id(order.number), order.failuresAllowed)
        );
    }

    /// @dev Copies and failures together must fit 16 bits, or a refund would overflow into `used`.
    function testFuzz_refusesTooManyCopies(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.failuresAllowed = uint8(_pick(seed, "failures", 1, 63));
        order.copies =
            uint16(_pick(seed, "too many", uint256(type(uint16).max) - order.failuresAllowed + 1, type(uint16).max));
        uint256 most = uint256(order.copies) + order.failuresAllowed;
        _refusedOnAllPaths(
            order, abi.encodeWithSelector(IPrintLicense.TooManyCopies.selector, _id(order.number), most)
        );
    }

    function testFuzz_refusesAPastValidity(uint256 seed) public {
        IPrintLicense.Order memory order = _orderAny(seed);
        order.validUntil = uint32(_pick(seed, "past", 1, NOW - 1));
        _refusedOnAllPaths(
            order, abi.encodeWithSelector(IPrintLicense.InvalidValidity.selector, _id(order.number), order.validUntil)
        );
    }

    function test_takesTheLastSecondOfValidityAndOrder() public {
        IPrintLicense.Order memory order = _order();
        order.validUntil = uint32(NOW);
        order.deadline = NOW;
        _call(owner, abi.encodeCall(licenses.issue, (order)));
        _isIssued(order);
    }

    /// @dev Whatever became of a license, its number is gone.
    function testFuzz_refusesATakenNumber(uint256 seed, uint8 flags) public {
        IPrintLicense.License memory it = _any(seed, flags % 16);
        _put(it);
        IPrintLicense.Order memory order = _order();
        _refusedOnAllPaths(order, _error(IPrintLicense.LicenseExists.selector, order));
        _is(_id(1), it);
    }

    /// @dev A field that doesn't fit its type is refused, not cut off.
    function test_refusesDirtyWords() public {
        bytes memory call_ = abi.encodeCall(licenses.issue, (_order()));
        for (uint256 field = 0; field < 8; ++field) {
            if (field == 3) continue; // fileHash: any word
            bytes memory dirty = bytes.concat(call_);
            dirty[4 + 32 * field] = 0x01;
            _refused(owner, dirty, "");
        }
    }

    // --- vouchers ----------------------------------------------------------------------------------------

    function testFuzz_redeemRefusesAnotherSigner(uint256 key) public {
        key = 1 + key % 1_000_000;
        if (key == OWNER_KEY) return;
        IPrintLicense.Order memory order = _order();
        _refusedVoucher(order, _sign(key, order));
    }

    /// @dev Each field of the order is signed.
    function testFuzz_redeemRefusesAChangedOrder(uint256 seed, uint256 field) public {
        IPrintLicense.Order memory order = _order();
        bytes memory signature = _sign(OWNER_KEY, order);
        field %= 9;
        uint256 other = _pick(seed, "other", 1, 60);
        if (field == 0) order.number += uint96(other);
        if (field == 1) order.printer = buyer;
        if (field == 2) order.fileHash += other;
        if (field == 3) order.copies += uint16(other);
        if (field == 4) order.validUntil = uint32(NOW + other);
        if (field == 5) order.flags = uint8(1 + other % 7);
        if (field == 6) order.failuresAllowed += uint8(other);
        if (field == 7) order.manifestHash = bytes32(other);
        if (field == 8) order.deadline += other;
        _refusedVoucher(order, signature);
    }

    function test_redeemRefusesAnotherChain() public {
        IPrintLicense.Order memory order = _order();
        bytes memory signature = _sign(OWNER_KEY, order);
        vm.chainId(block.chainid + 1);
        _refusedVoucher(order, signature);
    }

    function test_redeemRefusesAnotherContract() public {
        IPrintLicense.Order memory order = _order();
        bytes32 domain = Signatures.ofLicenses(address(devices));
        _refusedVoucher(order, Signatures.long(OWNER_KEY, Signatures.digest(domain, Signatures.hashOf(order))));
    }

    function test_redeemRefusesAMalleableSignature() public {
        IPrintLicense.Order memory order = _order();
        _refusedVoucher(order, Signatures.malleated(OWNER_KEY, _digest(order)));
    }

    function testFuzz_redeemRefusesGarbage(bytes calldata garbage) public {
        _refusedVoucher(_order(), garbage);
    }

    /// @dev The account zero owns nothing: a signature that recovers nobody isn't its signature.
    function test_redeemRefusesOwnerZero() public {
        IPrintLicense.Order memory order = _order();
        order.owner = address(0);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.InvalidSignature.selector, uint256(1));
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, new bytes(65))), error_);
    }

    function test_redeemFollowsTheController() public {
        IPrintLicense.Order memory order = _order();
        _handOver(wallet);
        _refusedVoucher(order, _sign(OWNER_KEY, order));
        bytes memory signature = _sign(WALLET_KEY, order);
        _call(stranger, abi.encodeCall(licenses.redeem, (order, signature)));
        _isIssued(order);
    }

    function test_redeemAsksAContractOwner() public {
        IPrintLicense.Order memory order = _order();
        order.owner = address(new ContractOwner(owner));
        bytes memory signature = _sign(OWNER_KEY, order);
        bytes memory wrong = _sign(STRANGER_KEY, order);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.InvalidSignature.selector, _idOf(order.owner, 1));
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, wrong)), error_);
        _call(stranger, abi.encodeCall(licenses.redeem, (order, signature)));
        _equal(licenses.balanceOf(wallet, _idOf(order.owner, 1)), order.copies, "balance");
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _notAllowed(address caller) private view returns (bytes memory) {
        return abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, caller, ISSUE);
    }

    function _error(bytes4 selector, IPrintLicense.Order memory order) private view returns (bytes memory) {
        return abi.encodeWithSelector(selector, _id(order.number));
    }

    function _two() private view returns (IPrintLicense.Order[] memory orders) {
        orders = new IPrintLicense.Order[](2);
        orders[0] = _order();
        orders[1] = _order();
        orders[1].number = 2;
    }

    function _handOver(address to) private {
        vm.prank(owner);
        licenses.offerControl(owner, to);
        vm.prank(to);
        licenses.acceptControl(owner);
    }

    function _refusedVoucher(IPrintLicense.Order memory order, bytes memory signature) private {
        _refused(
            stranger,
            abi.encodeCall(licenses.redeem, (order, signature)),
            _error(IPrintLicense.InvalidSignature.selector, order)
        );
    }

    function _refusedOnAllPaths(IPrintLicense.Order memory order, bytes memory error_) private {
        IPrintLicense.Order[] memory orders = new IPrintLicense.Order[](1);
        orders[0] = order;
        bytes memory signature = _sign(OWNER_KEY, order);
        _setOperator(portal, ISSUE);
        _refused(owner, abi.encodeCall(licenses.issue, (order)), error_);
        _refused(portal, abi.encodeCall(licenses.issueFor, (order)), error_);
        _refused(owner, abi.encodeCall(licenses.issueBatch, (orders)), error_);
        _refused(stranger, abi.encodeCall(licenses.redeem, (order, signature)), error_);
    }

    function _expectIssue(IPrintLicense.Order memory order, address operator) private {
        uint256 id = _id(order.number);
        _expectEvent();
        emit IPrintLicense.LicenseIssued(
            id,
            order.printer,
            order.fileHash,
            order.copies,
            order.validUntil,
            order.flags,
            order.failuresAllowed,
            order.manifestHash
        );
        _expectEvent();
        emit IERC1155.TransferSingle(operator, address(0), order.printer, id, order.copies);
    }

    function _isIssued(IPrintLicense.Order memory order) private view {
        IPrintLicense.License memory expected;
        expected.printer = order.printer;
        expected.validUntil = order.validUntil;
        expected.flags = order.flags;
        expected.remaining = order.copies;
        expected.failuresAllowed = order.failuresAllowed;
        expected.fileHash = order.fileHash;
        _is(_id(order.number), expected);
        _equal(licenses.ownerOf(_id(order.number)), order.owner, "owner");
    }
}
