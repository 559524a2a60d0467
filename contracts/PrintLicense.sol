// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155MetadataURI} from "@openzeppelin/contracts/token/ERC1155/extensions/IERC1155MetadataURI.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {LicenseToken} from "./base/LicenseToken.sol";
import {OwnerRights} from "./base/OwnerRights.sol";
import {IDeviceRegistry} from "./interfaces/IDeviceRegistry.sol";
import {IPrintLicense} from "./interfaces/IPrintLicense.sol";
import {LicenseState, LicenseStateLibrary} from "./types/LicenseState.sol";

/// @title PrintLicense
/// @notice Registry of print licenses with an ERC-1155 face. It has no administrator, holds no ether and can't
/// be changed.
contract PrintLicense is IPrintLicense, OwnerRights, LicenseToken, EIP712 {
    /// @notice The wallet may hand the license on.
    uint8 public constant TRANSFERABLE = 1;
    /// @notice The owner may end the license.
    uint8 public constant REVOCABLE = 2;
    /// @notice Only devices consume for which somebody vouches whom the owner accepts.
    uint8 public constant TRUSTED_DEVICE = 4;
    /// @dev Set by `revoke` only.
    uint8 private constant REVOKED = 8;
    uint8 private constant ALL_TERMS = 7;

    /// @dev Bits of `failedWindow`: how far back a copy can be reported as failed.
    uint256 private constant WINDOW = 16;
    uint256 private constant MAX_FAILURES = 63;

    bytes32 private constant ORDER_TYPEHASH = keccak256(
        "Order(address owner,uint96 number,address printer,uint256 fileHash,uint16 copies,uint32 validUntil,"
        "uint8 flags,uint8 failuresAllowed,bytes32 manifestHash,uint256 deadline)"
    );
    bytes32 private constant USE_TYPEHASH = keccak256(
        "Use(uint256 id,uint256 fileHash,uint256 copy,bytes32 keyRecipient,bytes32 encryptedSerial,"
        "bytes32 commitment,uint256 deadline)"
    );
    bytes32 private constant FAILURE_TYPEHASH =
        keccak256("Failure(uint256 id,uint256 copy,bytes32 evidence,uint256 deadline)");

    /// @notice Which devices act for which wallets, and who vouches for them.
    IDeviceRegistry public immutable DEVICES;

    /// @dev Two words a license. `state` holds all that changes with a print.
    struct Record {
        LicenseState state;
        uint256 fileHash;
    }

    mapping(uint256 id => Record) private _licenses;
    mapping(uint256 id => mapping(uint256 fileHash => bool)) private _alternativeFiles;

    constructor(IDeviceRegistry devices) EIP712("Imprimatur PrintLicense", "1") {
        DEVICES = devices;
    }

    // --- issuing -------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function issue(Order calldata order) external returns (uint256) {
        _requireController(order.owner, RIGHT_ISSUE);
        return _issue(order);
    }

    /// @inheritdoc IPrintLicense
    function issueFor(Order calldata order) external returns (uint256) {
        _requireOperator(order.owner, RIGHT_ISSUE);
        return _issue(order);
    }

    /// @inheritdoc IPrintLicense
    function issueBatch(Order[] calldata orders) external returns (uint256[] memory ids) {
        ids = new uint256[](orders.length);
        // Nobody yet.
        // slither-disable-next-line uninitialized-local
        address checked;
        for (uint256 i = 0; i < orders.length; ++i) {
            address owner = orders[i].owner;
            // One owner a batch is the rule, so her consent is read once.
            if (i == 0 || owner != checked) {
                _requireOwnersSide(owner, RIGHT_ISSUE);
                checked = owner;
            }
            ids[i] = _issue(orders[i]);
        }
    }

    /// @inheritdoc IPrintLicense
    function redeem(Order calldata order, bytes calldata signature) external returns (uint256) {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ORDER_TYPEHASH, order)));
        if (!SignatureChecker.isValidSignatureNowCalldata(controllerOf(order.owner), digest, signature)) {
            revert InvalidSignature(_idOf(order));
        }
        return _issue(order);
    }

    // --- printing ------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function useLicense(uint256 id, uint256 fileHash) external {
        LicenseState state = _requireUsable(id, fileHash, msg.sender);
        _consume(id, state, fileHash, msg.sender, 0);
    }

    /// @inheritdoc IPrintLicense
    function useLicenseAndLog(
        uint256 id,
        uint256 fileHash,
        uint256 copy,
        bytes32 keyRecipient,
        bytes32 encryptedSerial,
        bytes32 commitment
    ) external {
        LicenseState state = _requireUsable(id, fileHash, msg.sender);
        // Unchecked: 16 bits and one.
        unchecked {
            uint256 expected = uint256(state.used()) + 1;
            if (copy != expected) revert CopyOutOfOrder(id, copy, expected);
        }
        uint16 number = _consume(id, state, fileHash, msg.sender, keyRecipient);
        emit PrintLogged(id, number, encryptedSerial);
        emit SerialRegistered(commitment, msg.sender);
    }

    /// @inheritdoc IPrintLicense
    function useLicensesSigned(SignedUse[] calldata uses) external {
        for (uint256 i = 0; i < uses.length; ++i) {
            bytes4 reason = _useSigned(uses[i]);
            if (reason != 0) emit UseSkipped(uses[i].id, uses[i].copy, reason);
        }
    }

    /// @inheritdoc IPrintLicense
    function reportFailure(uint256 id, uint256 copy, bytes32 evidence) external {
        LicenseState state = _licenses[id].state;
        bytes4 reason = _whyNotFailed(state, copy, msg.sender);
        if (reason == 0) return _fail(id, state, copy, evidence);
        if (reason == LicenseNotFound.selector) revert LicenseNotFound(id);
        if (reason == NotThePrinter.selector) revert NotThePrinter(id, msg.sender);
        if (reason == CopyNotRefundable.selector) revert CopyNotRefundable(id, copy);
        revert NoFreeFailureLeft(id);
    }

    /// @inheritdoc IPrintLicense
    function reportFailuresSigned(SignedFailure[] calldata failures) external {
        for (uint256 i = 0; i < failures.length; ++i) {
            bytes4 reason = _failSigned(failures[i]);
            if (reason != 0) emit FailureSkipped(failures[i].id, failures[i].copy, reason);
        }
    }

    // --- changing a license --------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function grantCopies(uint256 id, uint16 copies, uint16 forCopy) external {
        _requireOwnersSide(ownerOf(id), RIGHT_GRANT);
        LicenseState state = _requireLicense(id);
        if (state.flags() & REVOKED != 0) revert LicenseIsRevoked(id);
        if (copies == 0) revert NoCopies(id);
        // The most that can ever come to be used: what is, what is left, and every failure still allowed.
        uint256 most = uint256(state.used()) + state.remaining() + copies + state.failuresAllowed() - state.failed();
        if (most > type(uint16).max) revert TooManyCopies(id, most);
        if (forCopy != 0) {
            uint256 used = state.used();
            if (forCopy > used) revert CopyNotRefundable(id, forCopy);
            uint256 age = used - forCopy;
            if (age < WINDOW) {
                if (state.isClosed(age)) revert CopyNotRefundable(id, forCopy);
                state = state.close(age);
            }
        }
        _licenses[id].state = state.addCopies(copies);
        emit CopiesGranted(id, copies, forCopy);
        emit TransferSingle(msg.sender, address(0), state.printer(), id, copies);
    }

    /// @inheritdoc IPrintLicense
    function approveFile(uint256 id, uint256 fileHash, bytes32 manifestHash, bool approved) external {
        _requireOwnersSide(ownerOf(id), RIGHT_APPROVE_FILE);
        _requireLicense(id);
        if (fileHash == 0) revert FileHashIsZero(id);
        if (fileHash == _licenses[id].fileHash) revert FileIsTheLicensedOne(id, fileHash);
        _alternativeFiles[id][fileHash] = approved;
        emit FileApproved(id, fileHash, manifestHash, approved);
    }

    /// @inheritdoc IPrintLicense
    function revoke(uint256 id) external {
        _requireOwnersSide(ownerOf(id), RIGHT_REVOKE);
        LicenseState state = _requireLicense(id);
        uint8 flags = state.flags();
        if (flags & REVOCABLE == 0) revert LicenseNotRevocable(id);
        if (flags & REVOKED != 0) revert LicenseIsRevoked(id);
        uint16 forfeited = state.remaining();
        _licenses[id].state = state.removeCopies(forfeited).addFlags(REVOKED);
        emit LicenseRevoked(id, forfeited);
        emit TransferSingle(msg.sender, state.printer(), address(0), id, forfeited);
    }

    /// @inheritdoc IPrintLicense
    function transferLicense(uint256 id, address to) external {
        LicenseState state = _requireLicense(id);
        address from = state.printer();
        _requireHolderOrApproved(from);
        uint256 value = state.remaining();
        _moveLicense(id, from, to, value);
        emit TransferSingle(msg.sender, from, to, id, value);
        _acknowledge(from, to, id, value, "");
    }

    // --- reading -------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function checkHash(uint256 id, uint256 fileHash) public view returns (bool) {
        // An unknown id has the hash zero, which is the hash of no license.
        return fileHash != 0 && (fileHash == _licenses[id].fileHash || _alternativeFiles[id][fileHash]);
    }

    /// @inheritdoc IPrintLicense
    function canUse(uint256 id, uint256 fileHash, address caller) external view returns (bool, bytes4) {
        LicenseState state = _licenses[id].state;
        // A caller of zero, as of a call without one, is the printer of a license that doesn't exist.
        bytes4 reason = state.exists() ? _whyNotUsable(id, state, fileHash, caller) : LicenseNotFound.selector;
        return (reason == 0, reason);
    }

    /// @inheritdoc IPrintLicense
    function licenseOf(uint256 id) external view returns (License memory) {
        LicenseState state = _requireLicense(id);
        return License({
            printer: state.printer(),
            validUntil: state.validUntil(),
            flags: state.flags(),
            remaining: state.remaining(),
            used: state.used(),
            failedWindow: state.failedWindow(),
            failuresAllowed: state.failuresAllowed(),
            failed: state.failed(),
            fileHash: _licenses[id].fileHash
        });
    }

    /// @inheritdoc IERC1155MetadataURI
    /// @dev Self-contained, so that no server has to live as long as the license.
    function uri(uint256 id) external view returns (string memory) {
        _requireLicense(id);
        return string.concat(
            'data:application/json;utf8,{"name":"Print license ',
            Strings.toHexString(id, 32),
            '","description":"Right to print the file with this SHA-256; the balance is the number of copies left.",',
            '"decimals":0,"properties":{"owner":"',
            Strings.toHexString(ownerOf(id)),
            '","fileHash":"',
            Strings.toHexString(_licenses[id].fileHash, 32),
            '"}}'
        );
    }

    /// @inheritdoc IPrintLicense
    function ownerOf(uint256 id) public pure returns (address) {
        // casting to 'uint160' is safe because 96 of 256 bits are gone
        // forge-lint: disable-next-line(unsafe-typecast)
        return address(uint160(id >> 96));
    }

    /// @inheritdoc IPrintLicense
    function version() external pure returns (string memory) {
        return "1.0.0";
    }

    // --- internal: issuing and moving ----------------------------------------------------------------------

    function _idOf(Order calldata order) private pure returns (uint256) {
        return (uint256(uint160(order.owner)) << 96) | order.number;
    }

    function _issue(Order calldata order) private returns (uint256 id) {
        id = _idOf(order);
        // Each field is read, and checked to fit its type, once.
        address printer = order.printer;
        uint256 fileHash = order.fileHash;
        uint16 copies = order.copies;
        uint32 validUntil = order.validUntil;
        uint8 flags = order.flags;
        uint8 failuresAllowed = order.failuresAllowed;
        if (block.timestamp > order.deadline) revert OrderExpired(id, order.deadline);
        if (printer == address(0)) revert InvalidPrinter(id);
        if (fileHash == 0) revert FileHashIsZero(id);
        if (copies == 0) revert NoCopies(id);
        if (flags > ALL_TERMS) revert InvalidFlags(id, flags);
        if (failuresAllowed > MAX_FAILURES) revert TooManyFailures(id, failuresAllowed);
        uint256 most = uint256(copies) + failuresAllowed;
        if (most > type(uint16).max) revert TooManyCopies(id, most);
        if (validUntil != 0 && block.timestamp > validUntil) revert InvalidValidity(id, validUntil);

        Record storage record = _licenses[id];
        if (record.state.exists()) revert LicenseExists(id);
        record.state = LicenseStateLibrary.create(printer, validUntil, flags, copies, failuresAllowed);
        record.fileHash = fileHash;
        emit LicenseIssued(id, printer, fileHash, copies, validUntil, flags, failuresAllowed, order.manifestHash);
        emit TransferSingle(msg.sender, address(0), printer, id, copies);
    }

    function _requireLicense(uint256 id) private view returns (LicenseState state) {
        state = _licenses[id].state;
        if (!state.exists()) revert LicenseNotFound(id);
    }

    /// @inheritdoc LicenseToken
    function _holding(uint256 id) internal view override returns (address holder, uint256 copies) {
        LicenseState state = _licenses[id].state;
        return (state.printer(), state.remaining());
    }

    /// @inheritdoc LicenseToken
    function _moveLicense(uint256 id, address from, address to, uint256 value) internal override {
        LicenseState state = _requireLicense(id);
        if (from != state.printer()) revert ERC1155InsufficientBalance(from, 0, value, id);
        if (to == address(0)) revert ERC1155InvalidReceiver(to);
        uint8 flags = state.flags();
        if (flags & REVOKED != 0) revert LicenseIsRevoked(id);
        if (flags & TRANSFERABLE == 0) revert LicenseNotTransferable(id);
        uint256 remaining = state.remaining();
        if (remaining == 0) revert LicenseExhausted(id);
        if (value != remaining) revert PartialTransfer(id, value, remaining);
        // A buyer can't scrap the parts that the seller made.
        _licenses[id].state = state.closeAll().withPrinter(to);
        emit LicenseTransferred(id, from, to);
    }

    // --- internal: consuming and failing -------------------------------------------------------------------

    /// @dev Zero when `device` may consume a copy of the license now, else the error's selector.
    function _whyNotUsable(uint256 id, LicenseState state, uint256 fileHash, address device)
        private
        view
        returns (bytes4)
    {
        // A license that doesn't exist has the printer zero, which nobody is who calls or signs.
        if (device != state.printer()) {
            if (!state.exists()) return LicenseNotFound.selector;
            if (DEVICES.walletOf(device) != state.printer()) return NotThePrinter.selector;
        }
        uint8 flags = state.flags();
        if (flags & REVOKED != 0) return LicenseIsRevoked.selector;
        if (state.isExpired(block.timestamp)) return LicenseExpired.selector;
        if (fileHash == 0) return FileHashIsZero.selector;
        if (fileHash != _licenses[id].fileHash && !_alternativeFiles[id][fileHash]) return FileHashMismatch.selector;
        if (state.remaining() == 0) return LicenseExhausted.selector;
        if (flags & TRUSTED_DEVICE != 0 && !DEVICES.isTrusted(device, controllerOf(ownerOf(id)))) {
            return DeviceNotTrusted.selector;
        }
        return 0;
    }

    /// @dev The license's word, when `device` may consume a copy now; reverts with what and how much else.
    function _requireUsable(uint256 id, uint256 fileHash, address device) private view returns (LicenseState state) {
        state = _licenses[id].state;
        bytes4 reason = _whyNotUsable(id, state, fileHash, device);
        if (reason == 0) return state;
        if (reason == LicenseNotFound.selector) revert LicenseNotFound(id);
        if (reason == NotThePrinter.selector) revert NotThePrinter(id, device);
        if (reason == LicenseIsRevoked.selector) revert LicenseIsRevoked(id);
        if (reason == LicenseExpired.selector) revert LicenseExpired(id, state.validUntil());
        if (reason == FileHashIsZero.selector) revert FileHashIsZero(id);
        if (reason == FileHashMismatch.selector) revert FileHashMismatch(id, fileHash);
        if (reason == LicenseExhausted.selector) revert LicenseExhausted(id);
        revert DeviceNotTrusted(id, device);
    }

    /// @dev Whether a device is the wallet itself or bound by it.
    function _actsFor(address device, address wallet) private view returns (bool) {
        return device == wallet || DEVICES.walletOf(device) == wallet;
    }

    /// @dev Consumes the next copy of a license that `_whyNotUsable` allows; its number.
    function _consume(uint256 id, LicenseState state, uint256 fileHash, address device, bytes32 keyRecipient)
        private
        returns (uint16 copy)
    {
        state = state.consumeCopy();
        _licenses[id].state = state;
        copy = state.used();
        emit LicenseUsed(id, device, copy, fileHash, keyRecipient);
        emit TransferSingle(msg.sender, state.printer(), address(0), id, 1);
    }

    function _useSigned(SignedUse calldata use) private returns (bytes4) {
        if (block.timestamp > use.deadline) return SignatureExpired.selector;
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    USE_TYPEHASH,
                    use.id,
                    use.fileHash,
                    use.copy,
                    use.keyRecipient,
                    use.encryptedSerial,
                    use.commitment,
                    use.deadline
                )
            )
        );
        // What is left out is a detail of the problem.
        // slither-disable-next-line unused-return
        (address device, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, use.r, use.vs);
        if (problem != ECDSA.RecoverError.NoError) return InvalidSignature.selector;
        LicenseState state = _licenses[use.id].state;
        bytes4 reason = _whyNotUsable(use.id, state, use.fileHash, device);
        if (reason != 0) return reason;
        // Unchecked: 16 bits and one.
        unchecked {
            if (use.copy != uint256(state.used()) + 1) return CopyOutOfOrder.selector;
        }
        uint16 copy = _consume(use.id, state, use.fileHash, device, use.keyRecipient);
        emit PrintLogged(use.id, copy, use.encryptedSerial);
        emit SerialRegistered(use.commitment, device);
        return 0;
    }

    /// @dev Zero when `device` may report this copy as failed now, else the error's selector.
    function _whyNotFailed(LicenseState state, uint256 copy, address device) private view returns (bytes4) {
        if (!state.exists()) return LicenseNotFound.selector;
        if (!_actsFor(device, state.printer())) return NotThePrinter.selector;
        uint256 used = state.used();
        if (copy == 0 || copy > used) return CopyNotRefundable.selector;
        // Unchecked: copy <= used.
        unchecked {
            uint256 age = used - copy;
            if (age >= WINDOW || state.isClosed(age)) return CopyNotRefundable.selector;
        }
        if (state.failed() >= state.failuresAllowed()) return NoFreeFailureLeft.selector;
        return 0;
    }

    /// @dev Gives a copy back that `_whyNotFailed` allows; on a revoked license it is forfeited.
    function _fail(uint256 id, LicenseState state, uint256 copy, bytes32 evidence) private {
        bool givenBack = state.flags() & REVOKED == 0;
        // Unchecked: copy <= used was checked.
        unchecked {
            state = state.failCopy(uint256(state.used()) - copy, givenBack);
        }
        _licenses[id].state = state;
        // casting to 'uint16' is safe because copy <= used
        // forge-lint: disable-next-line(unsafe-typecast)
        emit PrintFailed(id, uint16(copy), evidence);
        if (givenBack) emit TransferSingle(msg.sender, address(0), state.printer(), id, 1);
    }

    function _failSigned(SignedFailure calldata failure) private returns (bytes4) {
        if (block.timestamp > failure.deadline) return SignatureExpired.selector;
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(FAILURE_TYPEHASH, failure.id, failure.copy, failure.evidence, failure.deadline))
        );
        // What is left out is a detail of the problem.
        // slither-disable-next-line unused-return
        (address device, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, failure.r, failure.vs);
        if (problem != ECDSA.RecoverError.NoError) return InvalidSignature.selector;
        LicenseState state = _licenses[failure.id].state;
        bytes4 reason = _whyNotFailed(state, failure.copy, device);
        if (reason != 0) return reason;
        _fail(failure.id, state, failure.copy, failure.evidence);
        return 0;
    }
}
