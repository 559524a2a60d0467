"""What is the same in every plan is worked out once: signatures, checks of signatures and of documents.

Keys come from a counter, so that the thousandth plan signs the same bytes as the first one. Nothing is left
out: what is remembered is the result of the real function for the same arguments.
"""

import json
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from eth_utils import address

from imprimatur import schemas
from imprimatur.chain import adapters, signature_check
from imprimatur.chain.interface import Interface
from imprimatur.chain.signers import key
from imprimatur.device import journal_rows, keying, using
from imprimatur.serials import tag_key

SEED = 4711
_remembered: dict[Any, Any] = {}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda raw: raw.hex())


def _by(key_of: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def remembered(*arguments: Any, **named: Any) -> Any:
        known = (function, key_of(*arguments, **named))
        if known not in _remembered:
            _remembered[known] = function(*arguments, **named)
        return _remembered[known]

    return remembered


def _message(signer: Any, domain: Any, types: Any, message: Any) -> Any:
    return signer.address, domain["verifyingContract"], *types, tuple(message.values())


COSTLY: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (schemas, "problem_in", lambda document, name, part="": (_text(document), name, part)),
    (key.KeySigner, "sign_typed_data", _message),
    (adapters.AccountSigner, "sign_transaction", lambda signer, fields: (signer.address, _text(fields))),
    (signature_check, "check", lambda digest, signature, address: (digest, signature, address)),
    (Interface, "encode_call", lambda self, function, *arguments: (function, _text(arguments))),
    (Interface, "decode_result", lambda self, function, data: (function, data)),
    (Interface, "decode_event", lambda self, log: tuple(map(str, log.values()))),
    (using, "public_key", lambda secret: secret),
    (keying, "unwrap_key", lambda wrapped, secret: (wrapped, secret)),
    (tag_key, "KeySigner", lambda secret: secret),
    (address, "to_checksum_address", lambda account: account),
    (journal_rows, "parse_id", lambda text: text),
    (
        signature_check,
        "typed_data_digest",
        lambda domain, types, message: (*types, _text(message), _text(domain)),
    ),
)
"""Functions by where they are looked up, and what their results depend on."""


@contextmanager
def remembering() -> Iterator[Callable[[], None]]:
    """Within the block, costly results are remembered. Call the result to let the secrets begin anew."""
    dice = random.Random(SEED)
    with ExitStack() as stack:
        for where, name, key_of in COSTLY:
            stack.enter_context(patch.object(where, name, _by(key_of, getattr(where, name))))
        stack.enter_context(patch.object(secrets, "token_bytes", dice.randbytes))
        stack.enter_context(patch.object(secrets, "randbelow", dice.randrange))
        stack.enter_context(patch.object(secrets, "choice", dice.choice))
        yield lambda: dice.seed(SEED)
