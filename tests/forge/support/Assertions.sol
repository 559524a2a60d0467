// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

/// @notice Comparisons that say what differs.
abstract contract Assertions {
    error Different(string what, uint256 found, uint256 expected);
    error DifferentBytes(string what, bytes found, bytes expected);
    error Untrue(string what);

    function _equal(uint256 found, uint256 expected, string memory what) internal pure {
        if (found != expected) revert Different(what, found, expected);
    }

    function _equal(address found, address expected, string memory what) internal pure {
        if (found != expected) revert Different(what, uint160(found), uint160(expected));
    }

    function _equal(bytes32 found, bytes32 expected, string memory what) internal pure {
        if (found != expected) revert Different(what, uint256(found), uint256(expected));
    }

    function _equal(bytes memory found, bytes memory expected, string memory what) internal pure {
        if (keccak256(found) != keccak256(expected)) revert DifferentBytes(what, found, expected);
    }

    function _true(bool condition, string memory what) internal pure {
        if (!condition) revert Untrue(what);
    }

    /// @dev A number from `low` to `high`; each end half as often as all between, since bugs live at the ends.
    function _pick(uint256 seed, string memory what, uint256 low, uint256 high) internal pure returns (uint256) {
        uint256 dice = uint256(keccak256(abi.encode(seed, what)));
        if (dice % 4 == 0) return low;
        if (dice % 4 == 1) return high;
        return low + (dice >> 8) % (high - low + 1);
    }
}
