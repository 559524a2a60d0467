"""The routes that set the plugin up: key, portal, policy. Others may look; only managers may change."""

from typing import Any

import flask

from octoprint_imprimatur.device_key import KEYSTORE, PKCS11, KeyChoice
from octoprint_imprimatur.policy import POLICIES
from octoprint_imprimatur.routes import MANAGE, STATUS, Routes, body, may, route, text

LONGEST_URL = 500
"""Characters."""
LONGEST_NAME = 100
MOST_PLUGINS = 100


class SetupApi(Routes):
    """Mixed into the plugin."""

    @route("/setup", "GET", STATUS)
    def show_setup(self) -> Any:
        """How far it is set up."""
        return flask.jsonify(self._setup())

    @route("/setup/invitation", "POST", MANAGE)
    def preview_invitation(self) -> Any:
        """Whose portal an invitation leads to. Nothing is stored, and nobody is enrolled. Body:
        `{"invitation": "link, code or what the QR code says", "portal_url": "for a code alone"}`."""
        sent = body()
        told = self.service.setup.preview(
            text(sent, "invitation"), text(sent, "portal_url", LONGEST_URL, optional=True)
        )
        return flask.jsonify(portal=told)

    @route("/setup/enrol", "POST", MANAGE)
    def enrol(self) -> Any:
        """Accept the invitation. Body as above, with `node_url`, and `wallet` when one has bound this
        printer."""
        sent = body()
        self.service.setup.enrol(
            text(sent, "invitation"),
            text(sent, "portal_url", LONGEST_URL, optional=True),
            text(sent, "node_url", LONGEST_URL),
            text(sent, "wallet", LONGEST_NAME, optional=True),
        )
        return flask.jsonify(setup=self._setup())

    @route("/setup/key", "POST", MANAGE)
    def choose_key(self) -> Any:
        """Sign with another key. Body: `{"store": "keystore"}`, or `{"store": "pkcs11", "module": "path",
        "token": "label", "label": "of the key", "pin": "…", "create": false}`."""
        sent = body()
        if sent.get("store") == KEYSTORE:
            self.service.setup.choose_key(KeyChoice())
        elif sent.get("store") == PKCS11:
            choice = KeyChoice(
                PKCS11,
                text(sent, "module", LONGEST_URL),
                text(sent, "token", LONGEST_NAME),
                text(sent, "label", LONGEST_NAME),
            )
            pin = text(sent, "pin", LONGEST_NAME)
            self.service.setup.choose_key(choice, pin, create=sent.get("create") is True)
        else:
            flask.abort(400)
        return flask.jsonify(setup=self._setup())

    @route("/setup/policy", "POST", MANAGE, fresh_login=True)
    def choose_policy(self) -> Any:
        """What this printer prints. Body: `{"policy": "licensed_only"}`."""
        policy = body().get("policy")
        if policy not in POLICIES:
            flask.abort(400)
        self.service.setup.choose_policy(policy)
        return flask.jsonify(setup=self._setup())

    @route("/setup/trusted_hooks", "POST", MANAGE, fresh_login=True)
    def trust_hooks(self) -> Any:
        """Which other plugins may see lines of sealed files. Body: `{"trusted_hooks": ["identifier"]}`."""
        trusted = body().get("trusted_hooks")
        if not isinstance(trusted, list) or len(trusted) > MOST_PLUGINS:
            flask.abort(400)
        if not all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME for name in trusted):
            flask.abort(400)
        self.service.setup.save({"trusted_hooks": sorted(set(trusted))})
        return flask.jsonify(setup=self._setup())

    def _setup(self) -> dict[str, Any]:
        found: dict[str, Any] = self.service.setup.as_json(for_manager=may(MANAGE))
        return found
