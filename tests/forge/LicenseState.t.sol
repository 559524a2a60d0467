// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {LicenseState, LicenseStateLibrary} from "../../contracts/types/LicenseState.sol";
import {Assertions} from "./support/Assertions.sol";

/// @notice The packed word against a struct that packs nothing. tests/halmos proves the same for all words.
contract LicenseStateTest is Assertions {
    struct Fields {
        address printer;
        uint32 validUntil;
        uint8 flags;
        uint16 remaining;
        uint16 used;
        uint16 failedWindow;
        uint8 failuresAllowed;
        uint8 failed;
    }

    function testFuzz_getters(uint256 word) public pure {
        Fields memory it = _read(LicenseState.wrap(word));
        uint256 packed = uint256(it.failed);
        packed = (packed << 6) | it.failuresAllowed;
        packed = (packed << 16) | it.failedWindow;
        packed = (packed << 16) | it.used;
        packed = (packed << 16) | it.remaining;
        packed = (packed << 4) | it.flags;
        packed = (packed << 32) | it.validUntil;
        packed = (packed << 160) | uint160(it.printer);
        _equal(packed, word, "word");
        _true(LicenseState.wrap(word).exists() == (word != 0), "exists");
    }

    function testFuzz_create(Fields memory it) public pure {
        it.flags %= 16;
        it.failuresAllowed %= 64;
        (it.used, it.failedWindow, it.failed) = (0, 0, 0);
        LicenseState state =
            LicenseStateLibrary.create(it.printer, it.validUntil, it.flags, it.remaining, it.failuresAllowed);
        _same(state, it);
    }

    function testFuzz_consumeCopy(uint256 word) public pure {
        LicenseState state = LicenseState.wrap(word);
        Fields memory it = _read(state);
        if (it.remaining == 0 || it.used == type(uint16).max) return;
        --it.remaining;
        ++it.used;
        it.failedWindow = uint16(uint256(it.failedWindow) * 2 % 65_536);
        _same(state.consumeCopy(), it);
    }

    function testFuzz_failCopy(uint256 word, uint256 age, bool givenBack) public pure {
        LicenseState state = LicenseState.wrap(word);
        Fields memory it = _read(state);
        age %= 16;
        if (it.failed == 63 || it.remaining == type(uint16).max) return;
        ++it.failed;
        if (givenBack) ++it.remaining;
        it.failedWindow = _withBit(it.failedWindow, age);
        _same(state.failCopy(age, givenBack), it);
    }

    function testFuzz_close(uint256 word, uint256 age) public pure {
        LicenseState state = LicenseState.wrap(word);
        Fields memory it = _read(state);
        age %= 16;
        uint16 closed = _withBit(it.failedWindow, age);
        _true(state.isClosed(age) == (it.failedWindow == closed), "isClosed");
        it.failedWindow = closed;
        _same(state.close(age), it);
        it.failedWindow = type(uint16).max;
        _same(state.closeAll(), it);
    }

    function testFuzz_copies(uint256 word, uint16 copies) public pure {
        LicenseState state = LicenseState.wrap(word);
        Fields memory it = _read(state);
        uint16 before = it.remaining;
        if (uint256(before) + copies <= type(uint16).max) {
            it.remaining = before + copies;
            _same(state.addCopies(copies), it);
        }
        if (copies <= before) {
            it.remaining = before - copies;
            _same(state.removeCopies(copies), it);
        }
    }

    function testFuzz_flagsAndPrinter(uint256 word, uint8 flags, address printer) public pure {
        LicenseState state = LicenseState.wrap(word);
        Fields memory it = _read(state);
        address before = it.printer;
        it.printer = printer;
        _same(state.withPrinter(printer), it);
        it.printer = before;
        it.flags |= flags % 16;
        _same(state.addFlags(flags % 16), it);
    }

    function testFuzz_isExpired(uint256 word, uint256 time) public pure {
        LicenseState state = LicenseState.wrap(word);
        uint256 until = state.validUntil();
        _true(state.isExpired(time) == (until != 0 && time > until), "any time");
        _true(!state.isExpired(until), "in the last second");
        _true(state.isExpired(until + 1) == (until != 0), "a second later");
    }

    function _withBit(uint16 window, uint256 age) private pure returns (uint16) {
        uint256 bit = 2 ** age;
        return uint256(window) / bit % 2 == 1 ? window : uint16(window + bit);
    }

    function _read(LicenseState state) private pure returns (Fields memory) {
        return Fields(
            state.printer(),
            state.validUntil(),
            state.flags(),
            state.remaining(),
            state.used(),
            state.failedWindow(),
            state.failuresAllowed(),
            state.failed()
        );
    }

    function _same(LicenseState state, Fields memory expected) private pure {
        _equal(keccak256(abi.encode(_read(state))), keccak256(abi.encode(expected)), "fields");
    }
}
