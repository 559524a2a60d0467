// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLicense} from "./interfaces/IPrintLicense.sol";
import {LicenseState, LicenseStateLibrary} from "./types/LicenseState.sol";

/// @title PrintLicense
/// @notice Registry of print licenses. It has no administrator, holds no ether and can't be changed.
contract PrintLicense is IPrintLicense {
    struct Operator {
        uint8 rights;
        uint64 until;
    }

    uint8 public constant RIGHT_ISSUE = 1;
    uint8 public constant RIGHT_GRANT = 2;
    uint8 public constant RIGHT_APPROVE_FILE = 4;
    uint8 public constant RIGHT_REVOKE = 8;
    uint8 private constant ALL_RIGHTS = 15;

    /// @dev Two words a license. `state` holds all that changes with a print.
    struct Record {
        LicenseState state;
        uint256 fileHash;
    }

    mapping(uint256 id => Record) private _licenses;
    mapping(address owner => mapping(address operator => Operator)) private _operators;

    /// @inheritdoc IPrintLicense
    function issue(Order calldata order) external returns (uint256) {
        if (msg.sender != order.owner) revert NotAllowed(order.owner, msg.sender, RIGHT_ISSUE);
        return _issue(order);
    }

    /// @inheritdoc IPrintLicense
    function issueFor(Order calldata order) external returns (uint256) {
        Operator memory operator = _operators[order.owner][msg.sender];
        if (operator.rights & RIGHT_ISSUE == 0 || block.timestamp > operator.until) {
            revert NotAllowed(order.owner, msg.sender, RIGHT_ISSUE);
        }
        return _issue(order);
    }

    /// @inheritdoc IPrintLicense
    function setOperator(address operator, uint8 rights, uint64 until) external {
        if (rights > ALL_RIGHTS) revert InvalidRights(rights);
        _operators[msg.sender][operator] = Operator(rights, until);
        emit OperatorSet(msg.sender, operator, rights, until);
    }

    /// @inheritdoc IPrintLicense
    function useLicense(uint256 id, uint256 fileHash) external {
        Record storage record = _licenses[id];
        LicenseState state = record.state;
        if (!state.exists()) revert LicenseNotFound(id);
        if (msg.sender != state.printer()) revert NotThePrinter(id, msg.sender);
        if (state.isExpired(block.timestamp)) revert LicenseExpired(id, state.validUntil());
        if (fileHash != record.fileHash) {
            if (fileHash == 0) revert FileHashIsZero(id);
            revert FileHashMismatch(id, fileHash);
        }
        if (state.remaining() == 0) revert LicenseExhausted(id);
        state = state.consumeCopy();
        record.state = state;
        emit LicenseUsed(id, msg.sender, state.used(), fileHash, bytes32(0));
    }

    /// @inheritdoc IPrintLicense
    function checkHash(uint256 id, uint256 fileHash) external view returns (bool) {
        // An unknown id has the hash zero, which is the hash of no license.
        return fileHash != 0 && fileHash == _licenses[id].fileHash;
    }

    /// @inheritdoc IPrintLicense
    function licenseOf(uint256 id) external view returns (License memory) {
        Record storage record = _licenses[id];
        LicenseState state = record.state;
        if (!state.exists()) revert LicenseNotFound(id);
        return License({
            printer: state.printer(),
            validUntil: state.validUntil(),
            flags: state.flags(),
            remaining: state.remaining(),
            used: state.used(),
            failedWindow: state.failedWindow(),
            failuresAllowed: state.failuresAllowed(),
            failed: state.failed(),
            fileHash: record.fileHash
        });
    }

    /// @inheritdoc IPrintLicense
    function operatorOf(address owner, address operator) external view returns (uint8 rights, uint64 until) {
        Operator memory entry = _operators[owner][operator];
        return (entry.rights, entry.until);
    }

    /// @inheritdoc IPrintLicense
    function ownerOf(uint256 id) external pure returns (address) {
        return address(uint160(id >> 96));
    }

    /// @inheritdoc IPrintLicense
    function version() external pure returns (string memory) {
        return "0.1.0";
    }

    function _issue(Order calldata order) private returns (uint256 id) {
        id = (uint256(uint160(order.owner)) << 96) | order.number;
        if (block.timestamp > order.deadline) revert OrderExpired(id, order.deadline);
        if (order.printer == address(0)) revert InvalidPrinter(id);
        if (order.fileHash == 0) revert FileHashIsZero(id);
        if (order.copies == 0) revert NoCopies(id);
        if (order.flags != 0) revert InvalidFlags(id, order.flags);
        if (order.failuresAllowed > 63) revert TooManyFailures(id, order.failuresAllowed);
        uint256 most = uint256(order.copies) + order.failuresAllowed;
        if (most > type(uint16).max) revert TooManyCopies(id, most);
        if (order.validUntil != 0 && block.timestamp > order.validUntil) revert InvalidValidity(id, order.validUntil);

        Record storage record = _licenses[id];
        if (record.state.exists()) revert LicenseExists(id);
        record.state = LicenseStateLibrary.create(
            order.printer, order.validUntil, order.flags, order.copies, order.failuresAllowed
        );
        record.fileHash = order.fileHash;
        emit LicenseIssued(
            id,
            order.printer,
            order.fileHash,
            order.copies,
            order.validUntil,
            order.flags,
            order.failuresAllowed,
            order.manifestHash
        );
    }
}
