// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDeviceRegistry} from "./interfaces/IDeviceRegistry.sol";

/// @title DeviceRegistry
/// @notice Wallets bind devices, anybody vouches, license owners choose whom they believe.
contract DeviceRegistry is IDeviceRegistry, EIP712 {
    /// @notice Most statements that one device shows: `isTrusted` looks at each.
    uint256 public constant MAX_ATTESTORS = 8;

    bytes32 private constant BIND_TYPEHASH =
        keccak256("Bind(address wallet,address device,uint256 nonce,uint256 deadline)");

    mapping(address device => address wallet) private _wallets;
    mapping(address device => uint256 nonce) private _nonces;
    mapping(address attestor => mapping(address device => bytes32 evidence)) private _attestations;
    // `presentAttestor` fills it through a storage pointer, which slither doesn't follow.
    // slither-disable-next-line uninitialized-state
    mapping(address device => address[] attestors) private _presented;
    mapping(address owner => mapping(address attestor => bool accepted)) private _accepted;

    constructor() EIP712("Imprimatur DeviceRegistry", "1") {}

    /// @inheritdoc IDeviceRegistry
    function bind(address device, uint256 deadline, bytes calldata deviceSignature) external {
        address bound = _wallets[device];
        if (bound != address(0)) revert DeviceIsBound(device, bound);
        if (block.timestamp > deadline) revert BindingExpired(device, deadline);
        uint256 nonce = _nonces[device];
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(BIND_TYPEHASH, msg.sender, device, nonce, deadline)));
        // What is left out is a detail of the problem.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, deviceSignature);
        if (problem != ECDSA.RecoverError.NoError || signer != device) revert InvalidDeviceSignature(device);
        // A signature counts once: after `unbind` the device has to agree again.
        _nonces[device] = nonce + 1;
        _wallets[device] = msg.sender;
        emit DeviceBound(device, msg.sender);
    }

    /// @inheritdoc IDeviceRegistry
    function unbind(address device) external {
        address wallet = _requireDeviceOrWallet(device);
        if (wallet == address(0)) revert DeviceIsNotBound(device);
        delete _wallets[device];
        emit DeviceUnbound(device, wallet);
    }

    /// @inheritdoc IDeviceRegistry
    function attest(address device, bytes32 evidence) external {
        if (evidence == 0) revert NoEvidence(device);
        _attestations[msg.sender][device] = evidence;
        emit DeviceAttested(device, msg.sender, evidence);
    }

    /// @inheritdoc IDeviceRegistry
    function retract(address device) external {
        if (_attestations[msg.sender][device] == 0) revert NotAttested(device, msg.sender);
        delete _attestations[msg.sender][device];
        emit AttestationRetracted(device, msg.sender);
    }

    /// @inheritdoc IDeviceRegistry
    function presentAttestor(address device, address attestor, bool presented) external {
        _requireDeviceOrWallet(device);
        address[] storage attestors = _presented[device];
        uint256 count = attestors.length;
        uint256 place = count;
        for (uint256 i = 0; i < count; ++i) {
            if (attestors[i] == attestor) place = i;
        }
        if (presented) {
            if (place != count) revert AlreadyPresented(device, attestor);
            if (count == MAX_ATTESTORS) revert TooManyAttestors(device, MAX_ATTESTORS);
            attestors.push(attestor);
        } else {
            if (place == count) revert NotPresented(device, attestor);
            attestors[place] = attestors[count - 1];
            attestors.pop();
        }
        emit AttestorPresented(device, attestor, presented);
    }

    /// @inheritdoc IDeviceRegistry
    function acceptAttestor(address attestor, bool accepted) external {
        _accepted[msg.sender][attestor] = accepted;
        emit AttestorAccepted(msg.sender, attestor, accepted);
    }

    /// @inheritdoc IDeviceRegistry
    function walletOf(address device) external view returns (address) {
        return _wallets[device];
    }

    /// @inheritdoc IDeviceRegistry
    function nonceOf(address device) external view returns (uint256) {
        return _nonces[device];
    }

    /// @inheritdoc IDeviceRegistry
    function attestationOf(address attestor, address device) external view returns (bytes32 evidence) {
        return _attestations[attestor][device];
    }

    /// @inheritdoc IDeviceRegistry
    function attestorsOf(address device) external view returns (address[] memory) {
        return _presented[device];
    }

    /// @inheritdoc IDeviceRegistry
    function acceptsAttestor(address owner, address attestor) external view returns (bool) {
        return _accepted[owner][attestor];
    }

    /// @inheritdoc IDeviceRegistry
    function isTrusted(address device, address owner) external view returns (bool) {
        address[] storage attestors = _presented[device];
        uint256 count = attestors.length;
        for (uint256 i = 0; i < count; ++i) {
            address attestor = attestors[i];
            if (_accepted[owner][attestor] && _attestations[attestor][device] != 0) return true;
        }
        return false;
    }

    /// @dev The wallet of `device`; reverts unless the caller is that wallet or the device itself.
    function _requireDeviceOrWallet(address device) private view returns (address wallet) {
        wallet = _wallets[device];
        if (msg.sender != device && (msg.sender != wallet)) revert NotTheDevice(device, msg.sender);
    }
}
