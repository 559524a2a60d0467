// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The right to print
/// @notice A license allows one printer wallet to make a number of copies of one file. Its id carries the
/// account of its owner in the upper 160 bits and a number that she chose in the lower 96: nobody else can
/// take the number, a repeated order reverts instead of doubling, and the id is known before the transaction.
/// `(id, copy)` names a print for ever.
interface IPrintLicense {
    /// @notice What an owner orders.
    /// @param owner account that the license belongs to for ever; upper 160 bits of the id
    /// @param number chosen by the owner; lower 96 bits of the id
    /// @param printer wallet that may consume the copies
    /// @param fileHash SHA-256 of the print file
    /// @param copies number of prints, 1 to 65,535
    /// @param validUntil last second of validity (Unix time); 0 for ever
    /// @param flags sum of TRANSFERABLE (1), REVOCABLE (2), TRUSTED_DEVICE (4)
    /// @param failuresAllowed failed prints that the owner gives back, 0 to 63
    /// @param manifestHash fixes the signed manifest that travels with the file; only in the event
    /// @param deadline last second (Unix time) at which this order may be executed
    struct Order {
        address owner;
        uint96 number;
        address printer;
        uint256 fileHash;
        uint16 copies;
        uint32 validUntil;
        uint8 flags;
        uint8 failuresAllowed;
        bytes32 manifestHash;
        uint256 deadline;
    }

    /// @notice A license as it stands in storage. Fields as in `LicenseState`.
    struct License {
        address printer;
        uint32 validUntil;
        uint8 flags;
        uint16 remaining;
        uint16 used;
        uint16 failedWindow;
        uint8 failuresAllowed;
        uint8 failed;
        uint256 fileHash;
    }

    /// @notice The use of one copy, signed by a device (EIP-712 type `Use`), submitted by anybody.
    /// @param copy must be the next one; it is the nonce
    /// @param keyRecipient one-job X25519 key to which the file key will be encrypted
    /// @param encryptedSerial log entry 1: readable by owner and printer only
    /// @param commitment log entry 2: hash of license, copy, serial and tag address
    /// @param deadline last second (Unix time) at which the signature counts
    /// @param r first half of the device's signature
    /// @param vs second half, compact (EIP-2098)
    struct SignedUse {
        uint256 id;
        uint256 fileHash;
        uint256 copy;
        bytes32 keyRecipient;
        bytes32 encryptedSerial;
        bytes32 commitment;
        uint256 deadline;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice The report of one failed print, signed by a device (EIP-712 type `Failure`).
    struct SignedFailure {
        uint256 id;
        uint256 copy;
        bytes32 evidence;
        uint256 deadline;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A license was issued.
    event LicenseIssued(
        uint256 indexed id,
        address indexed printer,
        uint256 indexed fileHash,
        uint16 copies,
        uint32 validUntil,
        uint8 flags,
        uint8 failuresAllowed,
        bytes32 manifestHash
    );

    /// @notice The copy numbered `copy` was consumed by `device`. `keyRecipient` is the one-job X25519 key to
    /// which the file key will be encrypted, or zero.
    event LicenseUsed(
        uint256 indexed id, address indexed device, uint16 copy, uint256 fileHash, bytes32 keyRecipient
    );

    /// @notice Log entry 1: the serial of a copy, encrypted for owner and printer.
    event PrintLogged(uint256 indexed id, uint16 copy, bytes32 encryptedSerial);

    /// @notice Log entry 2, right after entry 1: the serial's commitment and the device that made the part.
    event SerialRegistered(bytes32 indexed commitment, address indexed device);

    /// @notice A print failed and was given back, or forfeited when the license is revoked.
    event PrintFailed(uint256 indexed id, uint16 copy, bytes32 evidence);

    /// @notice The owner added copies; `forCopy` is the copy that she replaces, or zero.
    event CopiesGranted(uint256 indexed id, uint16 copies, uint16 forCopy);

    /// @notice The owner approved another file for the license, or no longer does.
    event FileApproved(uint256 indexed id, uint256 indexed fileHash, bytes32 indexed manifestHash, bool approved);

    /// @notice The license ended; `forfeited` copies were left.
    event LicenseRevoked(uint256 indexed id, uint16 forfeited);

    /// @notice The license, with all copies left, went to another printer wallet.
    event LicenseTransferred(uint256 indexed id, address indexed from, address indexed to);

    /// @notice `owner` gave `operator` the `rights` until the second `until` (Unix time). No rights: cut off.
    event OperatorSet(address indexed owner, address indexed operator, uint8 rights, uint64 until);

    /// @notice The account that acts for `owner` offered this to `to`.
    event ControlOffered(address indexed owner, address indexed from, address indexed to);

    /// @notice From now on `to` acts for `owner`, and `from` no longer does.
    event ControlTransferred(address indexed owner, address indexed from, address indexed to);

    /// @notice An entry of a batch was left out; `reason` is the selector of the error that it would raise alone.
    event UseSkipped(uint256 indexed id, uint256 copy, bytes4 reason);

    /// @notice An entry of a batch was left out; `reason` is the selector of the error that it would raise alone.
    event FailureSkipped(uint256 indexed id, uint256 copy, bytes4 reason);

    /// @notice No license was ever issued under this id.
    error LicenseNotFound(uint256 id);
    /// @notice The id is taken for ever. A client whose order stands there unchanged treats this as success.
    error LicenseExists(uint256 id);
    /// @notice No copy is left.
    error LicenseExhausted(uint256 id);
    /// @notice The last second of validity has passed.
    error LicenseExpired(uint256 id, uint32 validUntil);
    /// @notice The owner has ended this license.
    error LicenseIsRevoked(uint256 id);
    /// @notice It was issued without the flag REVOCABLE.
    error LicenseNotRevocable(uint256 id);
    /// @notice It was issued without the flag TRANSFERABLE.
    error LicenseNotTransferable(uint256 id);
    /// @notice The caller is neither the license's wallet nor a device bound by it.
    error NotThePrinter(uint256 id, address caller);
    /// @notice Nobody whom the license's owner accepts vouches for the device.
    error DeviceNotTrusted(uint256 id, address device);
    /// @notice A file hash of zero names no file. SAMPL's contract skipped its check for it.
    error FileHashIsZero(uint256 id);
    /// @notice The hash is neither that of the licensed file nor of one approved for it.
    error FileHashMismatch(uint256 id, uint256 fileHash);
    /// @notice The file that a license was issued for needs no approval and can lose none.
    error FileIsTheLicensedOne(uint256 id, uint256 fileHash);
    /// @notice Copies are consumed in order; this one was consumed before, or others come first.
    error CopyOutOfOrder(uint256 id, uint256 copy, uint256 expected);
    /// @notice The copy was never consumed, failed before, was closed, or is older than the last 16.
    error CopyNotRefundable(uint256 id, uint256 copy);
    /// @notice The owner gives no further failed print back; she can grant a copy.
    error NoFreeFailureLeft(uint256 id);
    /// @notice The caller does not act for the owner, or not with this right (0: only who controls her account).
    error NotAllowed(address owner, address caller, uint8 right);
    /// @notice Control over this owner was not offered to the caller.
    error ControlNotOffered(address owner, address caller);
    /// @notice The order came after its deadline.
    error OrderExpired(uint256 id, uint256 deadline);
    /// @notice The signed message came after its deadline.
    error SignatureExpired(uint256 id, uint256 deadline);
    /// @notice The signature is malformed, malleable, or by somebody else.
    error InvalidSignature(uint256 id);
    /// @notice The zero address can hold no license.
    error InvalidPrinter(uint256 id);
    /// @notice The validity would have ended before it began.
    error InvalidValidity(uint256 id, uint32 validUntil);
    /// @notice Not a sum of TRANSFERABLE, REVOCABLE and TRUSTED_DEVICE.
    error InvalidFlags(uint256 id, uint8 flags);
    /// @notice Not a sum of the RIGHT_ constants.
    error InvalidRights(uint8 rights);
    /// @notice A license or a grant is for at least one copy.
    error NoCopies(uint256 id);
    /// @notice `copies` could come to be consumed in all; the counters hold 65,535.
    error TooManyCopies(uint256 id, uint256 copies);
    /// @notice More than the 63 free failures that a license can have.
    error TooManyFailures(uint256 id, uint8 failuresAllowed);
    /// @notice A license moves as a whole: `value` must be `remaining`.
    error PartialTransfer(uint256 id, uint256 value, uint256 remaining);

    // --- issuing -------------------------------------------------------------------------------------------

    /// @notice Issue a license. Only who acts for the owner named in the order.
    /// @return id of the new license
    function issue(Order calldata order) external returns (uint256 id);

    /// @notice Issue a license for its owner. Only an operator to whom she gave the right ISSUE, in time.
    /// @return id of the new license
    function issueFor(Order calldata order) external returns (uint256 id);

    /// @notice Issue several licenses, all or none. Who acts for their owner, or her operator; consent is asked for
    /// whenever the owner changes.
    /// @return ids of the new licenses, in order
    function issueBatch(Order[] calldata orders) external returns (uint256[] memory ids);

    /// @notice Issue a license that its owner ordered off chain. Anybody may submit it, once.
    /// @param signature EIP-712 signature of the order by who acts for the owner; ERC-1271 for contracts
    /// @return id of the new license
    function redeem(Order calldata order, bytes calldata signature) external returns (uint256 id);

    // --- printing ------------------------------------------------------------------------------------------

    /// @notice Consume the next copy. Only the printer of the license, only with the hash of its file.
    /// Whatever fails reverts: a transaction that succeeded has consumed exactly one copy.
    function useLicense(uint256 id, uint256 fileHash) external;

    /// @notice Consume the copy numbered `copy`, which must be the next one, and log its serial. A serial can
    /// only arise here: there are never more serials than consumptions and at most one for each copy.
    function useLicenseAndLog(
        uint256 id,
        uint256 fileHash,
        uint256 copy,
        bytes32 keyRecipient,
        bytes32 encryptedSerial,
        bytes32 commitment
    ) external;

    /// @notice Uses signed by devices. A bad entry is skipped with `UseSkipped` and never harms its neighbours.
    function useLicensesSigned(SignedUse[] calldata uses) external;

    /// @notice Give back a failed copy: once for each copy, only the last 16, as often as the owner allowed.
    function reportFailure(uint256 id, uint256 copy, bytes32 evidence) external;

    /// @notice Failures signed by devices. A bad entry is skipped with `FailureSkipped`.
    function reportFailuresSigned(SignedFailure[] calldata failures) external;

    // --- changing a license --------------------------------------------------------------------------------

    /// @notice Add copies, for the copy `forCopy` that she replaces or for none (0). Owner's side, right GRANT.
    /// A replaced copy can't be reported as failed any more. Copies older than the last 16 can't anyway, and the
    /// contract doesn't remember that they were replaced.
    function grantCopies(uint256 id, uint16 copies, uint16 forCopy) external;

    /// @notice Accept another file for the same license, such as a re-slice, or no longer. Right APPROVE_FILE.
    function approveFile(uint256 id, uint256 fileHash, bytes32 manifestHash, bool approved) external;

    /// @notice End a revocable license. What is left is forfeited. Owner's side, right REVOKE.
    function revoke(uint256 id) external;

    /// @notice Hand a transferable license with all copies left to another printer wallet. Only its wallet, or
    /// whom the wallet approved for all (ERC-1155). Copies printed so far can't be reported as failed any more.
    function transferLicense(uint256 id, address to) external;

    // --- who acts for an owner -----------------------------------------------------------------------------

    /// @notice Let `operator` act for `owner` within `rights` until the second `until` (Unix time).
    /// @param rights sum of RIGHT_ISSUE (1), RIGHT_GRANT (2), RIGHT_APPROVE_FILE (4), RIGHT_REVOKE (8); 0 cuts off
    function setOperator(address owner, address operator, uint8 rights, uint64 until) external;

    /// @notice Offer another account to act for `owner`; nothing changes until it accepts. Zero withdraws.
    function offerControl(address owner, address to) external;

    /// @notice Accept to act for `owner`. The previous account no longer does.
    function acceptControl(address owner) external;

    // --- reading -------------------------------------------------------------------------------------------

    /// @notice True when `fileHash` is the hash of the file of license `id`, or of a file approved for it;
    /// false for an unknown id.
    function checkHash(uint256 id, uint256 fileHash) external view returns (bool);

    /// @notice Whether `caller` could consume a copy now, and if not the selector of the error it would get.
    function canUse(uint256 id, uint256 fileHash, address caller) external view returns (bool usable, bytes4 reason);

    /// @notice The license as it stands. Reverts with `LicenseNotFound` for an unknown id.
    function licenseOf(uint256 id) external view returns (License memory);

    /// @notice What `operator` may do for `owner`, and until which second (Unix time).
    function operatorOf(address owner, address operator) external view returns (uint8 rights, uint64 until);

    /// @notice The account that acts for `owner`: herself, unless she handed control over.
    function controllerOf(address owner) external view returns (address);

    /// @notice The account that the license id belongs to, issued or not.
    function ownerOf(uint256 id) external pure returns (address);

    /// @notice Version of this contract; versions live side by side, none can be upgraded.
    function version() external pure returns (string memory);
}
