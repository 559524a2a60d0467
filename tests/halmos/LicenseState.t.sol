// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {LicenseState, LicenseStateLibrary} from "../../contracts/types/LicenseState.sol";

/// @notice For every word that meets a setter's condition: the field changes as named, no other bit does.
contract LicenseStateProofs {
    uint256 private constant PRINTER = type(uint160).max;
    uint256 private constant FLAGS = uint256(0xf) << 192;
    uint256 private constant REMAINING = uint256(0xffff) << 196;
    uint256 private constant USED = uint256(0xffff) << 212;
    uint256 private constant WINDOW = uint256(0xffff) << 228;
    uint256 private constant FAILED = uint256(0x3f) << 250;

    function check_createFillsItsFields(address printer, uint32 until, uint8 flags, uint16 copies, uint8 failures)
        external
        pure
    {
        if (flags > 15 || failures > 63) return;
        LicenseState it = LicenseStateLibrary.create(printer, until, flags, copies, failures);
        assert(it.printer() == printer && it.validUntil() == until && it.flags() == flags);
        assert(it.remaining() == copies && it.failuresAllowed() == failures);
        assert(it.used() == 0 && it.failedWindow() == 0 && it.failed() == 0);
    }

    function check_consumeCopyStaysInItsFields(LicenseState before) external pure {
        if (before.remaining() == 0 || before.used() == type(uint16).max) return;
        LicenseState it = before.consumeCopy();
        assert(uint256(it.used()) == uint256(before.used()) + 1);
        assert(uint256(it.remaining()) + 1 == before.remaining());
        unchecked {
            assert(it.failedWindow() == before.failedWindow() << 1);
        }
        _onlyChanged(before, it, USED | REMAINING | WINDOW);
    }

    function check_failCopyStaysInItsFields(LicenseState before, uint256 age, bool givenBack) external pure {
        if (age > 15 || before.failed() >= before.failuresAllowed() || before.remaining() == type(uint16).max) {
            return;
        }
        LicenseState it = before.failCopy(age, givenBack);
        assert(uint256(it.failed()) == uint256(before.failed()) + 1);
        assert(it.failed() <= it.failuresAllowed());
        assert(uint256(it.remaining()) == uint256(before.remaining()) + (givenBack ? 1 : 0));
        assert(it.isClosed(age));
        assert(it.failedWindow() == before.failedWindow() | (1 << age));
        _onlyChanged(before, it, FAILED | REMAINING | WINDOW);
    }

    function check_closeStaysInTheWindow(LicenseState before, uint256 age) external pure {
        if (age > 15) return;
        LicenseState it = before.close(age);
        assert(it.isClosed(age));
        _onlyChanged(before, it, WINDOW);
        it = before.closeAll();
        assert(it.failedWindow() == type(uint16).max);
        _onlyChanged(before, it, WINDOW);
    }

    function check_copiesStayInRemaining(LicenseState before, uint16 copies) external pure {
        if (uint256(before.remaining()) + copies <= type(uint16).max) {
            LicenseState more = before.addCopies(copies);
            assert(uint256(more.remaining()) == uint256(before.remaining()) + copies);
            _onlyChanged(before, more, REMAINING);
        }
        if (copies <= before.remaining()) {
            LicenseState less = before.removeCopies(copies);
            assert(uint256(less.remaining()) + copies == before.remaining());
            _onlyChanged(before, less, REMAINING);
        }
    }

    function check_flagsAndPrinterStayInTheirFields(LicenseState before, uint8 flags, address printer) external pure {
        LicenseState it = before.withPrinter(printer);
        assert(it.printer() == printer);
        _onlyChanged(before, it, PRINTER);
        if (flags > 15) return;
        it = before.addFlags(flags);
        assert(it.flags() == before.flags() | flags);
        _onlyChanged(before, it, FLAGS);
    }

    function _onlyChanged(LicenseState before, LicenseState it, uint256 fields) private pure {
        assert(LicenseState.unwrap(before) & ~fields == LicenseState.unwrap(it) & ~fields);
    }
}
