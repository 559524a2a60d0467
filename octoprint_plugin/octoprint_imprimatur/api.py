"""The plugin's routes under /plugin/imprimatur. Thin: the work is done by flow and catalog."""

from collections.abc import Callable
from typing import Any

import flask
import octoprint.plugin
from octoprint.access.permissions import Permissions

from imprimatur.device.job import Job
from imprimatur.license_id import InvalidLicenseNumber, format_id, parse_id
from octoprint_imprimatur import connection
from octoprint_imprimatur.flow import WITHDRAWABLE, Flow
from octoprint_imprimatur.messages import Message, Refused, message_of

FRESH_FOR = 10.0
"""Seconds for which a list is served without reading the chain again."""


def job_json(
    job: Job, progress: float | None = None, active: bool = False, reportable: bool = False
) -> dict[str, Any]:
    """A job as browsers see it.

    Args:
        progress: of its step from 0 to 1, where it is known.
        active: it is being prepared.
        reportable: its failure can be reported.
    """
    message = message_of(job.reason)
    return {
        "id": job.id,
        "license_id": format_id(job.license_id),
        "name": job.name,
        "number": job.number,
        "state": job.state.value,
        "copy": job.copy,
        "copies": job.copies,
        "transaction": job.transaction,
        "message": message and message.as_json(),
        "progress": progress,
        "active": active,
        "ready": job.is_ready and not active,
        "underway": active or not (job.is_over or job.is_ready),
        "withdrawable": job.state in WITHDRAWABLE and not job.withdrawn,
        "reportable": reportable,
        "final": job.is_over,
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
    """Mixed into the plugin, which has `service` (flow, catalog, keys)."""

    service: Any

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
                self.service.catalog.refresh()
            else:
                self.service.catalog.refresh_soon(FRESH_FOR)
            return flask.jsonify(**self.service.catalog.snapshot.as_json(), **self.service.identity())

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
                job = self.service.print_license(id, copy, _user())
            except Refused as error:
                return _refused(error.message)
            return flask.make_response(flask.jsonify(job=self.service.job_json(job)), 202)

    @octoprint.plugin.BlueprintPlugin.route("/jobs", methods=["GET"])
    def list_jobs(self):
        """Every job that isn't over, and the latest of the others; newest first."""
        with Permissions.STATUS.require(403):
            return flask.jsonify(jobs=self.service.jobs())

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/print", methods=["POST"])
    def print_job(self, job_id):
        """Print a copy that is paid and waits. Consumes nothing."""
        return self._do(lambda flow: flow.resume(job_id))

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/withdraw", methods=["POST"])
    def withdraw_job(self, job_id):
        """Give up a job that isn't printing. What is signed already can't be taken back."""
        return self._do(lambda flow: flow.withdraw(job_id))

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/failure", methods=["POST"])
    def report_failure(self, job_id):
        """Report to the chain that the copy of a job failed, so that the license gives it back."""
        return self._do(lambda flow: flow.report_failure(job_id))

    @octoprint.plugin.BlueprintPlugin.route("/jobs/<string:job_id>/dismiss", methods=["POST"])
    def dismiss_job(self, job_id):
        """The operator has read how a job ended."""
        with Permissions.PLUGIN_IMPRIMATUR_PRINT.require(403):
            self.service.dismiss(job_id)
            return "", 204

    def _do(self, wish: Callable[[Flow], Job]) -> flask.Response:
        """Do what an operator wants of a job."""
        with Permissions.PLUGIN_IMPRIMATUR_PRINT.require(403):
            try:
                job = wish(self.service.flow)
            except Refused as error:
                return _refused(error.message)
            return flask.make_response(flask.jsonify(job=self.service.job_json(job)), 202)

    @octoprint.plugin.BlueprintPlugin.route("/check", methods=["POST"])
    def check_connection(self):
        """Try settings, stored or not: which part answers, and what is wrong with the others."""
        with Permissions.PLUGIN_IMPRIMATUR_MANAGE.require(403):
            body = _body()
            settings = {key: body.get(key, value) for key, value in self.service.settings().items()}
            return flask.jsonify(
                checks=connection.check(settings, self.service.keys.signer), **self.service.identity()
            )


def _user() -> str | None:
    from octoprint.server import current_user

    return current_user.get_name() if current_user else None
