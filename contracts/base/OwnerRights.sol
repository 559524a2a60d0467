// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPrintLicense} from "../interfaces/IPrintLicense.sol";

/// @title Who acts for an owner
/// @notice License ids carry their owner's account for ever. Which key acts for her can change: she hands
/// control to another account in two steps. Beside that she lets operators do single things until a date.
abstract contract OwnerRights is IPrintLicense {
    struct Operator {
        uint8 rights;
        uint64 until;
    }

    /// @notice An operator may issue licenses.
    uint8 public constant RIGHT_ISSUE = 1;
    /// @notice An operator may add copies.
    uint8 public constant RIGHT_GRANT = 2;
    /// @notice An operator may approve files.
    uint8 public constant RIGHT_APPROVE_FILE = 4;
    /// @notice An operator may revoke licenses.
    uint8 public constant RIGHT_REVOKE = 8;
    uint8 private constant ALL_RIGHTS = 15;

    mapping(address owner => mapping(address operator => Operator)) private _operators;
    /// @dev Zero: the owner acts for herself.
    mapping(address owner => address controller) private _controllers;
    mapping(address owner => address to) private _offers;

    /// @inheritdoc IPrintLicense
    function setOperator(address owner, address operator, uint8 rights, uint64 until) external {
        _requireController(owner, 0);
        if (rights > ALL_RIGHTS) revert InvalidRights(rights);
        _operators[owner][operator] = Operator(rights, until);
        emit OperatorSet(owner, operator, rights, until);
    }

    /// @inheritdoc IPrintLicense
    function offerControl(address owner, address to) external {
        _requireController(owner, 0);
        _offers[owner] = to;
        emit ControlOffered(owner, msg.sender, to);
    }

    /// @inheritdoc IPrintLicense
    function acceptControl(address owner) external {
        if (msg.sender != _offers[owner]) revert ControlNotOffered(owner, msg.sender);
        address from = controllerOf(owner);
        delete _offers[owner];
        _controllers[owner] = msg.sender;
        emit ControlTransferred(owner, from, msg.sender);
    }

    /// @inheritdoc IPrintLicense
    function operatorOf(address owner, address operator) external view returns (uint8 rights, uint64 until) {
        Operator memory entry = _operators[owner][operator];
        return (entry.rights, entry.until);
    }

    /// @inheritdoc IPrintLicense
    function controllerOf(address owner) public view returns (address) {
        address controller = _controllers[owner];
        return controller == address(0) ? owner : controller;
    }

    /// @dev Only who acts for the owner; `right` is what the error names.
    function _requireController(address owner, uint8 right) internal view {
        if (msg.sender != controllerOf(owner)) revert NotAllowed(owner, msg.sender, right);
    }

    /// @dev Only an operator of the owner with this right, in time.
    function _requireOperator(address owner, uint8 right) internal view {
        Operator memory entry = _operators[owner][msg.sender];
        if (entry.rights & right == 0 || block.timestamp > entry.until) {
            revert NotAllowed(owner, msg.sender, right);
        }
    }

    /// @dev Who acts for the owner, or an operator of hers with this right, in time.
    function _requireOwnersSide(address owner, uint8 right) internal view {
        if (msg.sender != controllerOf(owner)) _requireOperator(owner, right);
    }
}
