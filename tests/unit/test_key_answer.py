"""Signed answers of a key desk."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur import canonical_json, schemas
from imprimatur.chain.signers import KeySigner
from imprimatur.key_answer import MAX_SIZE, AnswerInvalid, KeyAnswer, Question, Refusal, read_answer
from imprimatur.sealing import new_key, public_key, unwrap_key, wrap_key

DESK = KeySigner(bytes(31) + b"d")
SOMEBODY = KeySigner(bytes(31) + b"s")
QUESTION = Question(
    chain_id=31337,
    contract="0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
    id=5 << 96 | 7,
    copy=3,
    key_recipient=bytes(range(32)),
)
REFUSED = KeyAnswer(QUESTION, 1_800_000_000, refusal=Refusal.STOPPED)
RELEASED = KeyAnswer(QUESTION, 1_800_000_000, wrapped_key=b"age-encryption.org/v1 and so on")

questions = st.builds(
    Question,
    chain_id=st.integers(1, 2**53 - 1),
    contract=st.sampled_from([QUESTION.contract, DESK.address, SOMEBODY.address]),
    id=st.integers(1, 2**256 - 1),
    copy=st.integers(1, 65_535),
    key_recipient=st.binary(min_size=32, max_size=32),
)
answers = st.one_of(
    st.builds(KeyAnswer, questions, st.integers(0, 2**37), refusal=st.sampled_from(list(Refusal))),
    st.builds(KeyAnswer, questions, st.integers(0, 2**37), wrapped_key=st.binary(max_size=4096)),
)


@given(answers)
def test_what_was_signed_is_read(answer: KeyAnswer) -> None:
    signed = answer.signed(DESK)
    assert len(signed) <= MAX_SIZE
    assert read_answer(signed, answer.question, DESK.address) == answer


def test_a_key_travels_in_an_answer() -> None:
    file_key, job_key = new_key(), new_key()
    question = replace(QUESTION, key_recipient=public_key(job_key))
    answer = KeyAnswer(question, 1, wrapped_key=wrap_key(file_key, question.key_recipient))
    read = read_answer(answer.signed(DESK), question, DESK.address)
    assert read.wrapped_key is not None
    assert unwrap_key(read.wrapped_key, job_key) == file_key


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    signed = data.draw(st.sampled_from([REFUSED, RELEASED])).signed(DESK)
    place = data.draw(st.integers(0, len(signed) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != signed[place]))
    with pytest.raises(AnswerInvalid):
        read_answer(signed[:place] + bytes([byte]) + signed[place + 1 :], QUESTION, DESK.address)


@pytest.mark.parametrize(
    "other",
    [
        {"chain_id": 1},
        {"contract": DESK.address},
        {"id": 1},
        {"copy": 4},
        {"key_recipient": bytes(32)},
    ],
)
def test_an_answer_to_another_question_is_no_answer(other: dict[str, Any]) -> None:
    with pytest.raises(AnswerInvalid, match="another question"):
        read_answer(RELEASED.signed(DESK), replace(QUESTION, **other), DESK.address)


def test_only_the_desk_answers() -> None:
    with pytest.raises(AnswerInvalid, match="isn't signed by the key desk"):
        read_answer(RELEASED.signed(SOMEBODY), QUESTION, DESK.address)
    # Naming the desk beside somebody's signature helps nobody, nor the other way round.
    for signer, named in ((SOMEBODY, DESK), (DESK, SOMEBODY)):
        document = json.loads(RELEASED.signed(signer)) | {"signer": named.address}
        with pytest.raises(AnswerInvalid, match="isn't signed by the key desk"):
            read_answer(canonical_json.dumps(document), QUESTION, DESK.address)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "refused"},
        {"reason": "stopped"},
        {"wrappedKey": None},
        {"wrappedKey": "no base64"},
        {"wrappedKey": "YQ==\n"},
        {"wrappedKey": "YR=="},
        {"version": 2},
        {"more": 1},
    ],
)
def test_contradictions_are_refused(change: dict[str, Any]) -> None:
    document = RELEASED.to_document() | change
    signed = {"answer": document, "signer": DESK.address, "signature": "0x" + "11" * 65}
    with pytest.raises(AnswerInvalid):
        read_answer(canonical_json.dumps(signed), QUESTION, DESK.address)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[" * 5000, b"x" * (MAX_SIZE + 1)])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        read_answer(data, QUESTION, DESK.address)


def test_an_answer_is_one_thing() -> None:
    with pytest.raises(ValueError, match="a key or a refusal"):
        KeyAnswer(QUESTION, 1)
    with pytest.raises(ValueError, match="a key or a refusal"):
        KeyAnswer(QUESTION, 1, b"key", Refusal.STOPPED)


def test_the_schema_knows_every_refusal() -> None:
    known = schemas.load("device-api.v1")["$defs"]["answer"]["properties"]["reason"]["enum"]
    assert known == [None, *(refusal.value for refusal in Refusal)]
