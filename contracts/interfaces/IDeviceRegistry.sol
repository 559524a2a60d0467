// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Devices, their wallets, and who vouches for them
/// @notice Binding and attestation are separate. A wallet (a machine's own, or a print shop's) binds the devices
/// that may act for it; a device proves that it holds its key. Anybody can state that a device is what it seems;
/// a statement counts for those license owners only who accepted its author. Nobody administers this contract.
interface IDeviceRegistry {
    /// @notice `device` acts for `wallet` from now on.
    event DeviceBound(address indexed device, address indexed wallet);

    /// @notice `device` no longer acts for `wallet`.
    event DeviceUnbound(address indexed device, address indexed wallet);

    /// @notice `attestor` states that `device` is what `evidence` (a hash, such as of a certificate) says.
    event DeviceAttested(address indexed device, address indexed attestor, bytes32 evidence);

    /// @notice `attestor` takes its statement about `device` back.
    event AttestationRetracted(address indexed device, address indexed attestor);

    /// @notice `device` shows (or no longer shows) the statement of `attestor` to license owners.
    event AttestorPresented(address indexed device, address indexed attestor, bool presented);

    /// @notice License owner `owner` accepts (or no longer accepts) statements of `attestor`.
    event AttestorAccepted(address indexed owner, address indexed attestor, bool accepted);

    /// @notice The device acts for a wallet already; that wallet or the device unbinds it first.
    error DeviceIsBound(address device, address wallet);
    /// @notice The device acts for no wallet.
    error DeviceIsNotBound(address device);
    /// @notice The caller is neither the device nor its wallet.
    error NotTheDevice(address device, address caller);
    /// @notice The device's signature came after its deadline.
    error BindingExpired(address device, uint256 deadline);
    /// @notice The signature is malformed, malleable, used before, or by somebody else.
    error InvalidDeviceSignature(address device);
    /// @notice A statement about a device needs evidence.
    error NoEvidence(address device);
    /// @notice The caller has made no statement about the device.
    error NotAttested(address device, address attestor);
    /// @notice The device shows as many statements as it can.
    error TooManyAttestors(address device, uint256 most);
    /// @notice The device shows this statement already.
    error AlreadyPresented(address device, address attestor);
    /// @notice The device doesn't show this statement.
    error NotPresented(address device, address attestor);

    /// @notice Let `device` act for the calling wallet.
    /// @param deviceSignature EIP-712 signature by the device of
    /// `Bind(address wallet,address device,uint256 nonce,uint256 deadline)`, nonce as in `nonceOf`
    /// @param deadline last second (Unix time) at which the signature counts
    function bind(address device, uint256 deadline, bytes calldata deviceSignature) external;

    /// @notice End a binding. The wallet or the device itself.
    function unbind(address device) external;

    /// @notice State that a device is what it seems. `evidence` is a hash and can't be zero.
    function attest(address device, bytes32 evidence) external;

    /// @notice Take the caller's statement about a device back.
    function retract(address device) external;

    /// @notice Choose whose statements a device shows, at most `MAX_ATTESTORS`. The device or its wallet.
    function presentAttestor(address device, address attestor, bool presented) external;

    /// @notice Accept statements of `attestor` for the caller's licenses, or no longer.
    function acceptAttestor(address attestor, bool accepted) external;

    /// @notice The wallet that a device acts for, or zero.
    function walletOf(address device) external view returns (address);

    /// @notice How often a device has been bound; part of the next binding's signature.
    function nonceOf(address device) external view returns (uint256);

    /// @notice What `attestor` states about `device`, or zero.
    function attestationOf(address attestor, address device) external view returns (bytes32 evidence);

    /// @notice Whose statements a device shows.
    function attestorsOf(address device) external view returns (address[] memory);

    /// @notice Whether `owner` accepts statements of `attestor`.
    function acceptsAttestor(address owner, address attestor) external view returns (bool);

    /// @notice Whether a statement that the device shows comes from somebody whom `owner` accepts.
    function isTrusted(address device, address owner) external view returns (bool);
}
