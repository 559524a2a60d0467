"""Keys in a real PKCS #11 token (SoftHSM 2): they sign, they stay there, and trouble has a name."""

import logging
import secrets
import threading
from dataclasses import replace

import pkcs11
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from imprimatur.chain.signers import Pkcs11Signer, SignerUnusable, Token, TokenUnusable, create_token_key
from imprimatur.chain.signers.pkcs11 import SECP256K1, KeyMissing, ModuleMissing, TokenMissing, WrongPin
from support.softhsm import PIN, module, new_token

ID = b"\x2a"


@pytest.fixture
def token():
    return new_token(f"printer {secrets.token_hex(4)}")


def session_of(token, **options):
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    try:
        return found.open(user_pin=token.pin, **options)
    except pkcs11.UserAlreadyLoggedIn:
        return found.open(**options)


def private_key(token):
    return session_of(token).get_key(object_class=ObjectClass.PRIVATE_KEY, label="operator")


def signs(signer, message=b"hello"):
    signature = signer.sign_message(message)
    return Account.recover_message(encode_defunct(primitive=message), signature=signature) == signer.address


def make_key(token, curve=SECP256K1, label="operator", **template):
    """A key as another program would make it."""
    session = session_of(token, rw=True)
    parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    template = {getattr(Attribute, name): value for name, value in template.items()}
    parameters.generate_keypair(
        mechanism=Mechanism.EC_KEY_PAIR_GEN, store=True, label=label, id=ID, private_template=template
    )


def test_a_key_is_found_again(token):
    made = create_token_key(token, "operator", ID)
    for names in ({"label": "operator"}, {"id": ID}, {"label": "operator", "id": ID}):
        found = Pkcs11Signer(token, **names)
        assert found.address == made.address
        assert signs(found)


def test_the_key_never_leaves_the_token(token):
    create_token_key(token, "operator", ID)
    key = private_key(token)
    assert key[Attribute.SENSITIVE] is True
    assert key[Attribute.EXTRACTABLE] is False
    assert key[Attribute.ALWAYS_SENSITIVE] is True
    assert key[Attribute.NEVER_EXTRACTABLE] is True
    assert key[Attribute.LOCAL] is True
    assert key[Attribute.PRIVATE] is True
    assert key[Attribute.EC_PARAMS] == SECP256K1
    with pytest.raises(pkcs11.AttributeSensitive):
        key[Attribute.VALUE]
    session = session_of(token, rw=True)
    wrapping = session.generate_key(KeyType.AES, 256, store=False)
    with pytest.raises(pkcs11.KeyUnextractable):
        wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    own = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="operator")
    for attribute, loose in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
        with pytest.raises(pkcs11.PKCS11Error):
            own.copy({attribute: loose})
        with pytest.raises(pkcs11.PKCS11Error):
            own[attribute] = loose
    assert private_key(token)[Attribute.EXTRACTABLE] is False


def test_nobody_sees_the_key_without_the_pin(token):
    signer = create_token_key(token, "operator", ID)
    pkcs11.lib(str(token.module)).reinitialize()
    stranger = pkcs11.lib(str(token.module)).get_token(token_label=token.label).open()
    assert list(stranger.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})) == []
    assert signs(signer)


def test_a_name_in_use_gets_no_second_key(token):
    made = create_token_key(token, "operator", ID)
    for label, id in (("operator", b"\x02"), ("another", ID)):
        with pytest.raises(KeyMissing, match="already"):
            create_token_key(token, label, id)
    assert Pkcs11Signer(token, "operator").address == made.address


def test_a_lost_session_is_opened_again(token):
    signer = create_token_key(token, "operator", ID)
    for _ in range(2):
        pkcs11.lib(str(token.module)).reinitialize()
        assert signs(signer)
    private_key(token).session.close()
    signer._key.session.close()
    assert signs(signer)


def test_a_session_is_closed_before_the_next_is_opened(token):
    """Tokens have few of them. The first signer logged in; when it closes, the second one's key is gone."""
    first, second = create_token_key(token, "operator", ID), Pkcs11Signer(token, "operator")
    old = second._session
    first._session.close()
    assert list(old.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})) == []
    assert signs(second)
    with pytest.raises(pkcs11.SessionHandleInvalid):
        old.generate_random(64)
    assert signs(first)
    assert signs(second)


def test_what_fails_leaves_no_session(token):
    """Nobody is logged in afterwards: so no session that did it is left."""
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    with pytest.raises(KeyMissing):
        Pkcs11Signer(token, "operator")
    found.open(user_pin=PIN).close()
    create_token_key(token, "operator", ID)._close()
    found.open(user_pin=PIN).close()
    with pytest.raises(KeyMissing, match="already"):
        create_token_key(token, "operator", ID)
    found.open(user_pin=PIN).close()


def test_several_signers_and_threads_share_a_token(token):
    signers = [create_token_key(token, f"operator {n}", bytes([n])) for n in range(3)]
    wrong = []

    def sign(signer):
        for n in range(20):
            if not signs(signer, b"%d" % n):
                wrong.append(n)

    threads = [threading.Thread(target=sign, args=(signer,)) for signer in signers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    signers[0]._key.session.close()
    assert all(map(signs, signers))


def test_another_key_under_the_same_name_is_noticed(token):
    signer = create_token_key(token, "operator", ID)
    session = session_of(token, rw=True)
    for key in list(session.get_objects({Attribute.LABEL: "operator"})):
        key.destroy()
    with pytest.raises(KeyMissing):
        signer.sign_message(b"gone")
    make_key(token, EXTRACTABLE=False, SENSITIVE=True)
    with pytest.raises(KeyMissing, match=signer.address):
        signer.sign_message(b"another")
    with pytest.raises(KeyMissing, match=signer.address):
        signer.sign_message(b"still another")


def test_a_wrong_pin_is_tried_once(token):
    create_token_key(token, "operator", ID)
    pkcs11.lib(str(token.module)).reinitialize()
    for pin in ("00000", "", "1" * 500):
        with pytest.raises(WrongPin):
            Pkcs11Signer(replace(token, pin=pin), "operator")
    signer = Pkcs11Signer(token, "operator")
    signer._token = replace(token, pin="00000")
    pkcs11.lib(str(token.module)).reinitialize()
    with pytest.raises(WrongPin, match="isn't tried again"):
        signer.sign_message(b"x")
    # Now it would be the right one: that it is refused still shows that the token isn't asked.
    signer._token = token
    with pytest.raises(WrongPin):
        signer.sign_message(b"x")
    assert signs(Pkcs11Signer(token, "operator"))


def test_the_pin_is_in_no_text(token, caplog):
    with caplog.at_level(logging.DEBUG):
        signer = create_token_key(token, "operator", ID)
        texts = [repr(token), str(token), repr(signer), f"{signer}"]
        for broken in (
            replace(token, label="nobody"),
            replace(token, module=token.module.with_name("none.so")),
        ):
            with pytest.raises(SignerUnusable) as caught:
                Pkcs11Signer(broken, "operator")
            texts.append(f"{caught.value!r} {caught.value} {caught.value.__cause__!r}")
        pkcs11.lib(str(token.module)).reinitialize()
        with pytest.raises(WrongPin) as wrong:
            Pkcs11Signer(replace(token, pin="secret-pin"), "operator")
        texts.append(f"{wrong.value!r} {wrong.value.__cause__!r}")
    assert PIN not in "".join(texts) + caplog.text
    assert "secret-pin" not in "".join(texts)


def test_what_is_missing_has_a_name(token, tmp_path):
    with pytest.raises(ModuleMissing, match=r"none\.so"):
        Pkcs11Signer(replace(token, module=tmp_path / "none.so"), "operator")
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(ModuleMissing, match="isn't a PKCS #11 module"):
        Pkcs11Signer(replace(token, module=text), "operator")
    with pytest.raises(TokenMissing, match="nobody"):
        Pkcs11Signer(replace(token, label="nobody"), "operator")
    with pytest.raises(KeyMissing, match="operator"):
        Pkcs11Signer(token, "operator")
    with pytest.raises(KeyMissing, match="label"):
        Pkcs11Signer(token)


def test_two_tokens_of_one_label():
    token = new_token("twin")
    new_token("twin")
    with pytest.raises(TokenMissing, match="several"):
        Pkcs11Signer(token, "operator")


def test_two_keys_of_one_name(token):
    for _ in range(2):
        make_key(token, EXTRACTABLE=False, SENSITIVE=True)
    with pytest.raises(KeyMissing, match="several"):
        Pkcs11Signer(token, "operator")


def test_keys_that_can_be_taken_out_are_refused(token):
    make_key(token, label="loose", EXTRACTABLE=True, SENSITIVE=True)
    make_key(token, label="open", EXTRACTABLE=False, SENSITIVE=False)
    for label in ("loose", "open"):
        with pytest.raises(KeyMissing, match="give this key away"):
            Pkcs11Signer(token, label)


def test_keys_of_another_curve_are_refused(token):
    prime256v1 = bytes.fromhex("06082a8648ce3d030107")
    make_key(token, curve=prime256v1, EXTRACTABLE=False, SENSITIVE=True)
    with pytest.raises(KeyMissing, match="secp256k1"):
        Pkcs11Signer(token, "operator")


def test_softhsm_is_there():
    """Without it nothing above is worth anything; it fails and doesn't skip."""
    assert module().is_file()
    assert isinstance(TokenUnusable("x"), SignerUnusable)
    assert Token(module(), "x", "y").pin == "y"
