"""Asking a key desk for the file key of a consumed copy. Only what the desk has signed counts."""

from dataclasses import dataclass

from imprimatur.chain.signers import Signer
from imprimatur.device.http import SignedHttp
from imprimatur.device.portal import API, body_of
from imprimatur.key_answer import MAX_SIZE, AnswerInvalid, KeyAnswer, Question, read_answer
from imprimatur.license_id import format_id

_ALWAYS_SIGNED = (200, 403, 425)


@dataclass(frozen=True, slots=True)
class DeskAnswer:
    """What the desk says, in bytes that prove it to anybody: keep those of a refusal.

    `retry_after` are the seconds after which a temporary refusal may be another answer, if the desk says so.
    """

    answer: KeyAnswer
    signed: bytes
    retry_after: float | None


class Desk:
    """The key desk at `url`, asked in the name of the device `signer`. One object serves all threads.

    Args:
        url: of the desk, as its portal said at the enrolment.
        address: account whose signature its answers carry (checksum), said at the same time.
        allow_http: whether http:// may go to another machine too.

    Raises:
        AddressRefused
    """

    def __init__(self, url: str, address: str, signer: Signer, allow_http: bool = False) -> None:
        self._http = SignedHttp(url, signer, MAX_SIZE, allow_http)
        self.address = address

    @property
    def url(self) -> str:
        return self._http.url

    def ask(self, question: Question) -> DeskAnswer:
        """The desk's signed answer: a wrapped key, or a refusal. Asking again is always allowed.

        Raises:
            AnswerInvalid: not the desk's answer to this question. It proves nothing.
            PortalUnreachable: nobody answers, or a server with a fault does.
            PortalBusy: somebody in front of the desk asks for patience, without a signature.
            PortalRefused: the request wasn't authentic or well-formed; nothing was decided about the key.
        """
        document = {
            "id": format_id(question.id),
            "copy": question.copy,
            "keyRecipient": question.key_recipient.hex(),
        }
        reply = self._http.send("POST", f"{API}/keys", body_of("keyRequest", document))
        try:
            answer = read_answer(reply.content, question, self.address)
        except AnswerInvalid:
            if reply.status in _ALWAYS_SIGNED:
                raise
            raise self._http.failure_of(reply) from None
        return DeskAnswer(answer, reply.content, reply.retry_after)
