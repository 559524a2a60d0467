"""The plugin's routes under /plugin/imprimatur. Thin: the work is done by flow and catalog."""

from typing import Any

import flask
import octoprint.plugin
from octoprint.access.permissions import Permissions

from imprimatur.license_id import InvalidLicenseNumber, format_id, parse_id
from octoprint_imprimatur import connection
from octoprint_imprimatur.journal import FINAL, UNSETTLED, Job, State
from octoprint_imprimatur.messages import Message, Refused

FRESH_FOR = 10.0
"""Seconds for which a list is served without reading the chain again."""


def job_json(job: Job, progress: float | None = None, active: bool = False) -> dict[str, Any]:
    """A job as browsers see it. `progress` of its step from 0 to 1; `active` while it is being prepared."""
    return {
        "id": job.id,
        "license_id": format_id(job.license_id),
        "name": job.name,
        "number": job.number,
        "state": job.state.value,
        "copy": job.copy,
        "copies": job.copies,
        "transaction": job.transaction,
        "message": job.message and job.message.as_json(),
        "progress": progress,
        "active": active,
        "ready": job.state is State.CONSUMED and not active,
        "unsettled": job.state in UNSETTLED,
        "final": job.state in FINAL,
        "dismissed": job.dismissed,
        "created": job.created,
        "updated": job.updated,
    }


def _refused(message: Message, status: int = 409) -> flask.Response:
    from flask_babel import gettext

    text = message.render(gettext)
    return flask.make_response(flask.jsonify(error=text, reason=message.as_json()), status)


def _body() -> dict[str, Any]:
    body = flask.request.get_json(silent=True)
    return body if isinstance(body, dict) else {}


class Api(octoprint.plugin.BlueprintPlugin):
    """Mixed into the plugin, which has `desk` (flow, journal, catalog, keys)."""

    desk: Any

    def is_blueprint_protected(self) -> bool:
        return True

    def is_blueprint_csrf_protected(self) -> bool:
        return True

    def is_api_protected(self) -> bool:
        return True

    @octoprint.plugin.BlueprintPlugin.route("/licenses", methods=["GET"])
    def list_licenses(self):
        """The list. `?fresh=true` reads the chain first."""
        with Permissions.STATUS.require(403):
            if flask.request.values.get("fresh") == "true":
                self.desk.catalog.refresh()
            else:
                self.desk.catalog.refresh_soon(FRESH_FOR)
            return flask.jsonify(**self.desk.catalog.snapshot.as_json(), **self.desk.identity())

    @octoprint.plugin.BlueprintPlugin.route("/licenses/<string:license_id>/print", methods=["POST"])
    def print_license(self, license_id):
        """Consume a copy and print it. Body, optional: `{"copy": 3}`, the copy that was confirmed."""
        with Permissions.PLUGIN_IMPRIMATUR_PRINT.require(403):
            copy = _body().get("copy")
            if copy is not None and (isinstance(copy, bool) or not isinstance(copy, int)):
                flask.abort(400)
            try:
                id = parse_id(license_id)
            except InvalidLicenseNumber:
                return _refused(Message("unknown_license"), 404)
            try:
                job = self.desk.print_license(id, copy, _user())
            except Refused as error:
                return _refused(error.message)
            return flask.make_response(flask.jsonify(job=job_json(job, active=True)), 202)

    @octoprint.plugin.BlueprintPlugin.route("/jobs", methods=["GET"])
    def list_jobs(self):
        """Every job that isn't over, and the latest of the others; newest first."""
        with Permissions.STATUS.require(403):
            return flask.jsonify(jobs=self.desk.jobs())

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/print", methods=["POST"])
    def print_job(self, job_id):
        """Print a copy that is paid and waits. Consumes nothing."""
        with Permissions.PLUGIN_IMPRIMATUR_PRINT.require(403):
            try:
                job = self.desk.flow.resume(job_id)
            except Refused as error:
                return _refused(error.message)
            return flask.make_response(flask.jsonify(job=job_json(job, active=True)), 202)

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/dismiss", methods=["POST"])
    def dismiss_job(self, job_id):
        """The operator has read how a job ended."""
        with Permissions.PLUGIN_IMPRIMATUR_PRINT.require(403):
            self.desk.journal.dismiss(job_id)
            return "", 204

    @octoprint.plugin.BlueprintPlugin.route("/check", methods=["POST"])
    def check_connection(self):
        """Try settings, stored or not: which part answers, and what is wrong with the others."""
        with Permissions.PLUGIN_IMPRIMATUR_MANAGE.require(403):
            body = _body()
            settings = {key: body.get(key, value) for key, value in self.desk.settings().items()}
            return flask.jsonify(
                checks=connection.check(settings, self.desk.keys.signer), **self.desk.identity()
            )


def _user() -> str | None:
    from octoprint.server import current_user

    return current_user.get_name() if current_user else None
