"""The plugin's routes for licenses and jobs, under /plugin/imprimatur. Thin: the service does the work."""

from typing import Any

import flask

from imprimatur.device.messages import shown
from imprimatur.device.statement import LONGEST_NOTE, Cause, Statement
from imprimatur.license_id import InvalidLicenseNumber, parse_id
from octoprint_imprimatur import connection
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.routes import (
    MANAGE,
    PRINT,
    REPORT,
    STATUS,
    Routes,
    body,
    refusal,
    route,
    text,
    user,
)

FRESH_FOR = 10.0
"""Seconds for which a list is served without reading the chain again."""
READ_WITHIN = 8.0
"""Seconds that a request waits for a new one: OctoPrint answers few requests at once, and one of them may be
somebody who cancels a print."""
LONGEST_PATH = 1000
"""Characters."""


class Api(Routes):
    """Mixed into the plugin."""

    @route("/licenses", "GET", STATUS)
    def list_licenses(self) -> Any:
        """The list. `?fresh=true` reads the chain first, if that doesn't take long."""
        if flask.request.values.get("fresh") == "true":
            self.service.catalog.refresh(READ_WITHIN)
        else:
            self.service.catalog.refresh_soon(FRESH_FOR)
        return flask.jsonify(**self.service.licenses(), **self.service.identity())

    @route("/licenses/<string:license_id>/print", "POST", PRINT)
    def print_license(self, license_id: str) -> Any:
        """Consume a copy and print it. Body, optional: `{"copy": 3}`, the copy that was confirmed, and
        `{"file": "path"}`, a file among OctoPrint's for a license without a sealed one."""
        sent = body()
        copy = sent.get("copy")
        if copy is not None and (isinstance(copy, bool) or not isinstance(copy, int)):
            flask.abort(400)
        try:
            id = parse_id(license_id)
        except InvalidLicenseNumber:
            return refusal(Message("unknown_license"), 404)
        file = text(sent, "file", LONGEST_PATH, optional=True)
        return self._begun(self.service.print_license(id, copy, user(), file or None))

    @route("/jobs", "GET", STATUS)
    def list_jobs(self) -> Any:
        """Every job that isn't over, and the latest of the others; newest first."""
        return flask.jsonify(jobs=self.service.jobs())

    @route("/jobs/<string:job_id>/print", "POST", PRINT)
    def print_job(self, job_id: str) -> Any:
        """Print a copy that is paid and waits. Consumes nothing."""
        return self._begun(self.service.resume(job_id))

    @route("/jobs/<string:job_id>/withdraw", "POST", PRINT)
    def withdraw_job(self, job_id: str) -> Any:
        """Give up a job that isn't printing. What is signed already can't be taken back."""
        return self._begun(self.service.withdraw(job_id))

    @route("/jobs/<string:job_id>/failure", "POST", REPORT)
    def report_failure(self, job_id: str) -> Any:
        """Report to the chain that the copy of a job failed, so that the license gives it back. Body:
        `{"reason": "adhesion", "note": "…"}`, a `Cause` and the operator's words."""
        sent = body()
        note = sent.get("note") or ""
        try:
            cause = Cause(sent.get("reason") or Cause.OTHER)
            if not isinstance(note, str) or len(note) > LONGEST_NOTE:
                raise ValueError("the note is too long")
            statement = Statement(cause, shown(note))
        except ValueError:
            flask.abort(400, description=f"reason is one of {', '.join(Cause)}, note up to 200 characters")
        return self._begun(self.service.report_failure(job_id, statement))

    @route("/jobs/<string:job_id>/dismiss", "POST", PRINT)
    def dismiss_job(self, job_id: str) -> Any:
        """The operator has read how a job ended."""
        self.service.dismiss(job_id)
        return "", 204

    @route("/check", "POST", MANAGE)
    def check_connection(self) -> Any:
        """Try settings, stored or not: which part answers, and what is wrong with the others."""
        sent = body()
        settings = {key: sent.get(key, value) for key, value in self.service.settings().items()}
        return flask.jsonify(
            checks=connection.check(settings, self.service.keys.signer), **self.service.identity()
        )

    def _begun(self, job: Any) -> flask.Response:
        return flask.make_response(flask.jsonify(job=self.service.job_json(job)), 202)
