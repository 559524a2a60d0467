// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The first storage word of a license: everything that one print reads and writes.
///
/// Layout, from the least significant bit:
///
///     bits      0..159   160..191     192..195  196..211    212..227  228..243       244..249          250..255
///     field     printer  validUntil   flags     remaining   used      failedWindow   failuresAllowed   failed
///     width     160      32           4         16          16        16             6                 6
///
/// `printer`          wallet that may consume; zero means that the license does not exist
/// `validUntil`       last second (Unix time) of validity; zero means for ever
/// `flags`            terms that the owner chose when she issued the license
/// `remaining`        copies that can still be consumed
/// `used`             copies consumed so far; the next copy has the number `used + 1`
/// `failedWindow`     bit j is set when copy `used - j` is failed or closed
/// `failuresAllowed`  how many failed prints the owner gives back
/// `failed`           how many of them have been reported
type LicenseState is uint256;

using LicenseStateLibrary for LicenseState global;

/// @notice Pack, read and advance a `LicenseState`.
library LicenseStateLibrary {
    uint256 private constant VALID_UNTIL = 160;
    uint256 private constant FLAGS = 192;
    uint256 private constant REMAINING = 196;
    uint256 private constant USED = 212;
    uint256 private constant FAILED_WINDOW = 228;
    uint256 private constant FAILURES_ALLOWED = 244;
    uint256 private constant FAILED = 250;

    /// @notice The word of a license of which nothing has been printed.
    /// @dev The caller guarantees `flags` < 2^4 and `failuresAllowed` < 2^6.
    function create(address printer_, uint32 validUntil_, uint8 flags_, uint16 copies, uint8 failuresAllowed_)
        internal
        pure
        returns (LicenseState)
    {
        return LicenseState.wrap(
            uint256(uint160(printer_)) | (uint256(validUntil_) << VALID_UNTIL) | (uint256(flags_) << FLAGS)
                | (uint256(copies) << REMAINING) | (uint256(failuresAllowed_) << FAILURES_ALLOWED)
        );
    }

    /// @notice True when a license with this word was issued.
    function exists(LicenseState self) internal pure returns (bool) {
        return LicenseState.unwrap(self) != 0;
    }

    // Casts cut a field out of the word on purpose.
    // forge-lint: disable-start(unsafe-typecast)
    function printer(LicenseState self) internal pure returns (address) {
        return address(uint160(LicenseState.unwrap(self)));
    }

    function validUntil(LicenseState self) internal pure returns (uint32) {
        return uint32(LicenseState.unwrap(self) >> VALID_UNTIL);
    }

    function flags(LicenseState self) internal pure returns (uint8) {
        return uint8((LicenseState.unwrap(self) >> FLAGS) & 0xf);
    }

    function remaining(LicenseState self) internal pure returns (uint16) {
        return uint16(LicenseState.unwrap(self) >> REMAINING);
    }

    function used(LicenseState self) internal pure returns (uint16) {
        return uint16(LicenseState.unwrap(self) >> USED);
    }

    function failedWindow(LicenseState self) internal pure returns (uint16) {
        return uint16(LicenseState.unwrap(self) >> FAILED_WINDOW);
    }

    function failuresAllowed(LicenseState self) internal pure returns (uint8) {
        return uint8((LicenseState.unwrap(self) >> FAILURES_ALLOWED) & 0x3f);
    }

    function failed(LicenseState self) internal pure returns (uint8) {
        return uint8(LicenseState.unwrap(self) >> FAILED);
    }

    // forge-lint: disable-end(unsafe-typecast)

    /// @notice True when the license is past its last second at `timestamp` (Unix seconds).
    function isExpired(LicenseState self, uint256 timestamp) internal pure returns (bool) {
        uint256 until = self.validUntil();
        return until != 0 && timestamp > until;
    }

    /// @notice One copy moves from `remaining` to `used`; the window of failures moves along.
    /// @dev The caller guarantees `remaining` > 0. `used + remaining` fits 16 bits since the license was
    /// issued, so neither addition nor subtraction can reach a neighbouring field.
    function consumeCopy(LicenseState self) internal pure returns (LicenseState) {
        uint256 word = LicenseState.unwrap(self);
        uint256 window = (word >> FAILED_WINDOW) & 0xffff;
        // Unchecked: see above.
        unchecked {
            word = word + (1 << USED) - (1 << REMAINING);
        }
        word &= ~(uint256(0xffff) << FAILED_WINDOW);
        return LicenseState.wrap(word | (((window << 1) & 0xffff) << FAILED_WINDOW));
    }

    /// @notice Whether the copy `age` copies before the last one is failed or closed.
    /// @dev The caller guarantees `age` < 16.
    function isClosed(LicenseState self, uint256 age) internal pure returns (bool) {
        return (LicenseState.unwrap(self) >> (FAILED_WINDOW + age)) & 1 != 0;
    }

    /// @notice The copy `age` copies before the last one can't be reported as failed any more.
    /// @dev The caller guarantees `age` < 16.
    function close(LicenseState self, uint256 age) internal pure returns (LicenseState) {
        return LicenseState.wrap(LicenseState.unwrap(self) | (1 << (FAILED_WINDOW + age)));
    }

    /// @notice No copy printed so far can be reported as failed any more.
    function closeAll(LicenseState self) internal pure returns (LicenseState) {
        return LicenseState.wrap(LicenseState.unwrap(self) | (uint256(0xffff) << FAILED_WINDOW));
    }

    /// @notice The copy `age` copies before the last one failed; it is given back or not.
    /// @dev The caller guarantees `age` < 16, `failed` < `failuresAllowed` and, since the license was issued,
    /// `used + remaining + failuresAllowed - failed` < 2^16: neither addition can reach a neighbouring field.
    function failCopy(LicenseState self, uint256 age, bool givenBack) internal pure returns (LicenseState) {
        uint256 word = LicenseState.unwrap(self.close(age));
        // Unchecked: see above.
        unchecked {
            word += 1 << FAILED;
            if (givenBack) word += 1 << REMAINING;
        }
        return LicenseState.wrap(word);
    }

    /// @dev The caller guarantees `remaining + copies` < 2^16.
    function addCopies(LicenseState self, uint16 copies) internal pure returns (LicenseState) {
        // Unchecked: see above.
        unchecked {
            return LicenseState.wrap(LicenseState.unwrap(self) + (uint256(copies) << REMAINING));
        }
    }

    /// @dev The caller guarantees `copies` <= `remaining`.
    function removeCopies(LicenseState self, uint16 copies) internal pure returns (LicenseState) {
        // Unchecked: see above.
        unchecked {
            return LicenseState.wrap(LicenseState.unwrap(self) - (uint256(copies) << REMAINING));
        }
    }

    /// @dev The caller guarantees `added` < 2^4.
    function addFlags(LicenseState self, uint8 added) internal pure returns (LicenseState) {
        return LicenseState.wrap(LicenseState.unwrap(self) | (uint256(added) << FLAGS));
    }

    function withPrinter(LicenseState self, address printer_) internal pure returns (LicenseState) {
        uint256 others = LicenseState.unwrap(self) & ~uint256(type(uint160).max);
        return LicenseState.wrap(others | uint256(uint160(printer_)));
    }
}
