// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {DeviceRegistry} from "../../contracts/DeviceRegistry.sol";
import {PrintLicense} from "../../contracts/PrintLicense.sol";
import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Assertions} from "./support/Assertions.sol";
import {Handler} from "./support/Handler.sol";
import {Ledger} from "./support/Ledger.sol";
import {vm} from "./support/Vm.sol";

/// @notice The eight invariants of docs/contracts-proof.md, after any sequence of calls by anybody. What a single
/// call must not do (consume for a stranger, fail a copy twice) the ledger refuses while it books. One campaign
/// checks all eight: forge would play the same sequences again for each.
contract InvariantsTest is Assertions {
    PrintLicense private _licenses;
    Handler private _handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        DeviceRegistry devices = new DeviceRegistry();
        _licenses = new PrintLicense(devices);
        _handler = new Handler(devices, _licenses);
    }

    /// @dev The only contract whose functions forge calls.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_all() external view {
        _1_copiesAreConserved();
        _2_failuresAreBounded();
        _3_serialsAreBounded();
        _4_tokensAreCopies();
        _5_termsAreTheOwners();
        _6_usedOnlyGrows();
        _7_idsBelongToTheirOwners();
        _8_endedLicensesAreNotConsumed();
    }

    /// @dev A world in which nothing happens keeps every invariant: in this one everything happens.
    function test_worldReachesEverything() external {
        bytes4[16] memory actions = [
            _handler.issue.selector,
            _handler.use.selector,
            _handler.useAndLog.selector,
            _handler.useSigned.selector,
            _handler.fail.selector,
            _handler.failSigned.selector,
            _handler.grant.selector,
            _handler.approveFile.selector,
            _handler.revoke.selector,
            _handler.transfer.selector,
            _handler.approveForAll.selector,
            _handler.setOperator.selector,
            _handler.handOver.selector,
            _handler.rebind.selector,
            _handler.vouch.selector,
            _handler.wait.selector
        ];
        for (uint256 i = 0; i < 3000; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            (bool done,) = address(_handler).call(abi.encodeWithSelector(actions[seed % 16], seed >> 8, i % 12));
            _true(done, "the ledger agrees");
        }
        bytes32[13] memory names = [
            bytes32("issued"),
            "used",
            "serial",
            "failed",
            "failed when revoked",
            "granted",
            "file",
            "revoked",
            "transferred",
            "operator",
            "control",
            "done",
            "refused"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            _true(_handler.seen(names[i]) != 0, string(abi.encodePacked(names[i])));
        }
    }

    function _1_copiesAreConserved() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked,) = _both(i);
            uint256 left = uint256(it.remaining) + it.used;
            _equal(left + booked.forfeited, booked.issued + booked.granted + booked.failed, "copies");
            uint256 most = left + it.failuresAllowed - it.failed;
            _true(most <= type(uint16).max, "what can ever come to be used fits 16 bits");
        }
    }

    function _2_failuresAreBounded() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked,) = _both(i);
            _true(it.failed <= it.failuresAllowed, "failures");
            _equal(it.failed, booked.failed, "failed");
        }
    }

    function _3_serialsAreBounded() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked,) = _both(i);
            _true(booked.serials <= it.used, "serials");
        }
    }

    function _4_tokensAreCopies() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it,, uint256 id) = _both(i);
            _equal(_licenses.balanceOf(it.printer, id), it.remaining, "balanceOf");
            _equal(_handler.balances(id, it.printer), it.remaining, "mints - burns");
            _equal(_licenses.balanceOf(address(this), id), 0, "balance of anybody else");
        }
    }

    /// @dev Terms are as the owner's side set them, all of which the events told.
    function _5_termsAreTheOwners() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked, uint256 id) = _both(i);
            _equal(it.printer, booked.printer, "printer");
            _equal(it.fileHash, booked.fileHash, "fileHash");
            _equal(it.validUntil, booked.validUntil, "validUntil");
            _equal(it.failuresAllowed, booked.failuresAllowed, "failuresAllowed");
            _equal(it.flags, booked.flags | (booked.revoked ? 8 : 0), "flags");
            address owner = _licenses.ownerOf(id);
            _equal(_licenses.controllerOf(owner), _handler.controllerOf(owner), "controller");
        }
    }

    /// @dev The ledger counts copies one by one; so `used` never went back.
    function _6_usedOnlyGrows() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked,) = _both(i);
            _equal(it.used, booked.used, "used");
        }
    }

    function _7_idsBelongToTheirOwners() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            uint256 id = _handler.ids(i);
            address owner = address(uint160(id >> 96));
            _equal(_licenses.ownerOf(id), owner, "owner");
            _true(owner == vm.addr(1) || owner == vm.addr(2), "issued for its owner only");
        }
    }

    function _8_endedLicensesAreNotConsumed() private view {
        for (uint256 i = 0; i < _handler.count(); ++i) {
            (IPrintLicense.License memory it, Ledger.Account memory booked, uint256 id) = _both(i);
            bool expired = booked.validUntil != 0 && block.timestamp > booked.validUntil;
            if (booked.revoked) _equal(it.used, booked.usedWhenRevoked, "used after revocation");
            if (booked.revoked) _equal(it.remaining, 0, "remaining after revocation");
            if (!booked.revoked && !expired) continue;
            (bool usable,) = _licenses.canUse(id, it.fileHash, it.printer);
            _true(!usable, "canUse");
        }
    }

    function _both(uint256 i)
        private
        view
        returns (IPrintLicense.License memory it, Ledger.Account memory booked, uint256 id)
    {
        id = _handler.ids(i);
        it = _licenses.licenseOf(id);
        booked = _handler.account(id);
    }
}
