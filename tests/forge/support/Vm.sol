// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

/// @notice The few cheatcodes of forge that these tests use.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address caller) external;
    function warp(uint256 timestamp) external;
    function chainId(uint256 id) external;
    /// @dev Not `block.chainid`: the optimizer may read that again after it changed.
    function getChainId() external view returns (uint256);
    function load(address account, bytes32 slot) external view returns (bytes32);
    function store(address account, bytes32 slot, bytes32 value) external;
    function expectEmit(address emitter) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
}

/// @dev Where forge and halmos answer cheatcodes.
Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
