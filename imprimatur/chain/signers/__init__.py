"""Who signs: accounts whose key this process may use, wherever the key is."""

from imprimatur.chain.signers.key import KeySigner
from imprimatur.chain.signers.keystore import (
    KeystoreUnusable,
    create_keystore,
    keystore_address,
    open_keystore,
)
from imprimatur.chain.signers.pkcs11 import (
    Pkcs11Signer,
    Token,
    TokenUnusable,
    create_token_key,
)
from imprimatur.chain.signers.protocol import Signer, SignerUnusable
from imprimatur.chain.signers.remote import (
    RemoteKeySigner,
    RemoteSigner,
    RemoteSignerRefused,
    RemoteSignerUnreachable,
)

__all__ = [
    "KeySigner",
    "KeystoreUnusable",
    "Pkcs11Signer",
    "RemoteKeySigner",
    "RemoteSigner",
    "RemoteSignerRefused",
    "RemoteSignerUnreachable",
    "Signer",
    "SignerUnusable",
    "Token",
    "TokenUnusable",
    "create_keystore",
    "create_token_key",
    "keystore_address",
    "open_keystore",
]
