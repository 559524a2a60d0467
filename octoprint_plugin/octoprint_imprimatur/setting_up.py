"""Setting the printer up: its key, the portal that invited it, what it prints. Open jobs keep theirs."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imprimatur.chain.signers import Signer, SignerUnusable
from imprimatur.device.job import FINAL, Job, State
from imprimatur.device.journal import Journal
from imprimatur.sealing.keys import InvalidKey
from octoprint_imprimatur import enrolment, keys
from octoprint_imprimatur.connection import MAX_REASON, Address
from octoprint_imprimatur.device_key import PKCS11, KeyChoice, Keys, PinDiffers, keep_pin, open_signer
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.policy import LICENSED_ONLY
from octoprint_imprimatur.turn import Turn

_OPEN = tuple(state for state in State if state not in FINAL)


class Setup:
    """What is set up, and the ways to change it.

    Args:
        settings: the plugin's settings as they are now.
        store: writes some of them.
        turn: taken while a job begins, so that its key and contract stay.
        data: OctoPrint's folders: what lies below them was uploaded by somebody.
        printer: OctoPrint's.
        gate: what the gate says of itself, for pages.
        foreign_hooks: identifier and name of other plugins that see lines.
        changed: told after a change of key or portal.
    """

    def __init__(
        self,
        settings: Callable[[], Mapping[str, Any]],
        store: Callable[[Mapping[str, Any]], None],
        keys: Keys,
        journal: Journal,
        turn: Turn,
        data: tuple[Path, ...],
        printer: Any,
        gate: Callable[[], dict[str, Any]],
        foreign_hooks: Callable[[], list[tuple[str, str]]],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self.save = store
        self._keys = keys
        self._journal = journal
        self._turn = turn
        self._data = data
        self._printer = printer
        self._gate = gate
        self._foreign_hooks = foreign_hooks
        self._changed = changed

    # Looking -----------------------------------------------------------------------------------------------

    def as_json(self, for_manager: bool) -> dict[str, Any]:
        """How far the printer is set up. Who can't change it isn't shown what may hold passwords."""
        settings = self._settings()
        choice, trusted = KeyChoice.of(settings), settings["trusted_hooks"]
        token = {"module": choice.module, "token": choice.token, "label": choice.label}
        return {
            "key": self._keys.as_json(),
            "pkcs11": token if for_manager else None,
            "portal": _portal_json(settings),
            "gate": self._gate(),
            "policy": settings["policy"],
            "allow_http": settings["allow_http"] is True,
            "trusted_hooks": list(trusted) if isinstance(trusted, list) else [],
            "foreign_hooks": [{"id": id, "name": name} for id, name in self._foreign_hooks()],
            "node_url": settings["node_url"] if for_manager else _host_of(settings["node_url"]),
            "done": self.is_done(),
        }

    def is_done(self) -> bool:
        """Whether the printer can print licensed jobs, as far as that shows without asking anybody. A portal
        isn't needed for operators' own files; one that invited another key doesn't count."""
        settings, address = self._settings(), self._keys.address
        try:
            Address.parse(settings)
        except Refused:
            return False
        return address is not None and settings["enrolled_device"] in ("", None, address)

    # Changing ----------------------------------------------------------------------------------------------

    def choose_policy(self, policy: str) -> None:
        """What this printer prints, one of `policy.POLICIES`.

        Raises:
            Refused: connector_in_use.
        """
        from octoprint_imprimatur.compat import connectors

        if policy == LICENSED_ONLY and connectors.is_foreign_connection(self._printer):
            raise Refused("connector_in_use")
        self.save({"policy": policy})

    def preview(self, invitation: str, portal_url: str) -> dict[str, Any]:
        """The portal behind an invitation. Raises Refused."""
        return self._invited(invitation, portal_url, self._keys.signer()).as_json()

    def enrol(self, invitation: str, portal_url: str, node_url: str, wallet: str) -> None:
        """Accept an invitation, and remember its portal.

        Raises:
            Refused: with the reason. Nothing was stored; unless the portal didn't answer, the invitation can
                still be used.
        """
        signer = self._keys.signer()
        invited = self._invited(invitation, portal_url, signer)
        enrolment.require_node(node_url, invited.told)
        with self._turn.taken():
            if self._keys.signer() is not signer:
                # Somebody has just chosen another key: it would be this one that is let in.
                raise Refused("key_not_ready")
            told = invited.told
            self._require_no_job(lambda job: (job.chain_id, job.contract) != (told.chain_id, told.contract))
            try:
                encryption_key = keys.encryption_key(self._keys.folder)
            except (InvalidKey, OSError) as error:
                raise Refused("key_unusable", reason=str(error)[:MAX_REASON]) from error
            done = enrolment.enrol(invited, signer, wallet, encryption_key)
            self.save(enrolment.settings_of(invited, done, node_url))
        self._changed()

    def _invited(self, invitation: str, portal_url: str, signer: Signer) -> enrolment.Invited:
        allow_http = self._settings()["allow_http"] is True
        return enrolment.preview(invitation, portal_url, signer, allow_http)

    def choose_key(self, choice: KeyChoice, pin: str | None = None, create: bool = False) -> None:
        """Sign with another key from now on. The keystore stays where it is.

        Args:
            pin: of the token; kept in a file that only OctoPrint's user can read.
            create: make the key in the token first.

        Raises:
            Refused: jobs_open, token_open, or key_refused with the reason. Nothing changed.
        """
        with self._turn.taken():
            self._require_no_job(lambda _job: True)
            if choice.store == PKCS11:
                self._require_installed(Path(choice.module))
            folder = self._keys.folder
            try:
                signer = open_signer(choice, folder, pin, secrets.token_bytes(8) if create else b"")
                if pin is not None:
                    keep_pin(choice, folder, pin)
            except PinDiffers as error:
                raise Refused("token_open") from error
            except (SignerUnusable, OSError) as error:
                raise Refused("key_refused", reason=str(error)[:MAX_REASON]) from error
            self.save(choice.as_settings())
            self._keys.adopt(signer)
        self._changed()

    def _require_installed(self, module: Path) -> None:
        """A module is a program that OctoPrint's process runs: none that was uploaded. Raises Refused."""
        found = module.resolve()
        if not module.is_absolute() or any(found.is_relative_to(folder.resolve()) for folder in self._data):
            raise Refused("module_refused")

    def _require_no_job(self, concerned: Callable[[Job], bool]) -> None:
        """Nor a failure report that isn't settled: only the device of the copy can sign it. Raises Refused:
        jobs_open."""
        waiting = self._journal.in_states(*_OPEN) + [
            job
            for job in self._journal.in_states(State.FAILED)
            if job.reason is not None and job.reason.code == "failure_pending"
        ]
        count = sum(concerned(job) for job in waiting)
        if count:
            raise Refused("jobs_open", count=count)


def _portal_json(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    if not settings["portal_url"]:
        return None
    return {
        "url": settings["portal_url"],
        "name": settings["portal_name"] or "",
        "printer": settings["enrolled_printer"] or "",
        "owner": settings["enrolled_owner"] or "",
        "enrolled_at": settings["enrolled_at"],
        "device": settings["enrolled_device"] or None,
        "wallet": settings["enrolled_wallet"] or None,
    }


def _host_of(url: Any) -> str:
    try:
        return urlsplit(str(url or "")).hostname or ""
    except ValueError:
        return ""
