// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Scene} from "./support/Scene.sol";
import {vm} from "./support/Vm.sol";

/// @notice `setOperator`, `offerControl`, `acceptControl`; cases in Owner.tree.
contract OwnerTest is Scene {
    function testFuzz_setOperator(address operator, uint8 rights, uint64 until) public {
        rights %= 16;
        _expectEvent();
        emit IPrintLicense.OperatorSet(owner, operator, rights, until);
        _call(owner, abi.encodeCall(licenses.setOperator, (owner, operator, rights, until)));
        (uint8 rightsFound, uint64 untilFound) = licenses.operatorOf(owner, operator);
        _equal(rightsFound, rights, "rights");
        _equal(untilFound, until, "until");
        (rightsFound,) = licenses.operatorOf(stranger, operator);
        _equal(rightsFound, 0, "rights for somebody else");
    }

    function testFuzz_setOperatorRefusesUnknownRights(uint8 rights) public {
        rights = 16 + rights % 240;
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.InvalidRights.selector, rights);
        _refused(owner, abi.encodeCall(licenses.setOperator, (owner, portal, rights, 0)), error_);
    }

    /// @dev Not even an operator with all rights makes operators or hands control over.
    function testFuzz_refusesOthers(address caller) public {
        if (caller == owner) return;
        _setOperator(caller, 15);
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, caller, 0);
        _refused(caller, abi.encodeCall(licenses.setOperator, (owner, caller, 15, 1)), error_);
        _refused(caller, abi.encodeCall(licenses.offerControl, (owner, caller)), error_);
    }

    function testFuzz_controlGoesOverInTwoSteps(address to) public {
        if (to == owner || to == address(0)) return;
        _expectEvent();
        emit IPrintLicense.ControlOffered(owner, owner, to);
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, to)));
        _equal(licenses.controllerOf(owner), owner, "controller before");
        _expectEvent();
        emit IPrintLicense.ControlTransferred(owner, owner, to);
        _call(to, abi.encodeCall(licenses.acceptControl, (owner)));
        _equal(licenses.controllerOf(owner), to, "controller after");

        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.NotAllowed.selector, owner, owner, 0);
        _refused(owner, abi.encodeCall(licenses.offerControl, (owner, owner)), error_);
        _refused(owner, abi.encodeCall(licenses.setOperator, (owner, portal, 1, 1)), error_);
        _call(to, abi.encodeCall(licenses.setOperator, (owner, portal, 1, 1)));
    }

    function testFuzz_controlRefusesWhoWasNotOffered(address caller) public {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.ControlNotOffered.selector, owner, caller);
        if (caller != address(0)) _refused(caller, abi.encodeCall(licenses.acceptControl, (owner)), error_);
        if (caller == buyer) return;
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, buyer)));
        _refused(caller, abi.encodeCall(licenses.acceptControl, (owner)), error_);
    }

    /// @dev An offer counts once, and the last one counts.
    function test_controlOfferIsUsedUp() public {
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, stranger)));
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, buyer)));
        bytes memory accept = abi.encodeCall(licenses.acceptControl, (owner));
        _refused(stranger, accept, abi.encodeWithSelector(IPrintLicense.ControlNotOffered.selector, owner, stranger));
        _call(buyer, accept);
        _refused(buyer, accept, abi.encodeWithSelector(IPrintLicense.ControlNotOffered.selector, owner, buyer));
    }

    function test_controlOfferCanBeWithdrawn() public {
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, buyer)));
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, address(0))));
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.ControlNotOffered.selector, owner, buyer);
        _refused(buyer, abi.encodeCall(licenses.acceptControl, (owner)), error_);
    }

    function test_controlCanComeBack() public {
        _call(owner, abi.encodeCall(licenses.offerControl, (owner, buyer)));
        _call(buyer, abi.encodeCall(licenses.acceptControl, (owner)));
        _call(buyer, abi.encodeCall(licenses.offerControl, (owner, owner)));
        _expectEvent();
        emit IPrintLicense.ControlTransferred(owner, buyer, owner);
        _call(owner, abi.encodeCall(licenses.acceptControl, (owner)));
        _equal(licenses.controllerOf(owner), owner, "controller");
    }

    function testFuzz_everybodyControlsThemselves(address account) public view {
        _equal(licenses.controllerOf(account), account, "controller");
    }
}
