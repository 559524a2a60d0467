"""OctoPrint-Imprimatur: prints licensed files, one copy of a license for each print. Wiring only."""

import threading
from pathlib import Path

import octoprint.plugin
import octoprint.settings
from flask_babel import gettext
from octoprint.access import ADMIN_GROUP, USER_GROUP

from octoprint_imprimatur import backups, connections, events, gate, leaks, printer, updates
from octoprint_imprimatur.api import Api
from octoprint_imprimatur.compat import terminal
from octoprint_imprimatur.connection import MAX_REASON
from octoprint_imprimatur.http_gate import HttpGate
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.pages import Pages
from octoprint_imprimatur.service import Service
from octoprint_imprimatur.settings import DEFAULTS, unguarded
from octoprint_imprimatur.setup_api import SetupApi

__plugin_name__ = "Imprimatur"
__plugin_pythoncompat__ = ">=3.11,<4"


class ImprimaturPlugin(
    octoprint.plugin.StartupPlugin,
    octoprint.plugin.ShutdownPlugin,
    octoprint.plugin.SettingsPlugin,
    octoprint.plugin.EventHandlerPlugin,
    Pages,
    Api,
    SetupApi,
):
    """Hands OctoPrint's calls on to those who do the work."""

    def __init__(self):
        # Closed from the first moment: nothing is permitted until the flow permits it.
        self.gate = gate.Gate(
            lambda message: self._push({"type": "refused", "message": message.as_json()}),
            lambda: self._settings.get(["policy"]),
        )
        self.http_gate = HttpGate(self.gate)
        self.service = None
        self._storing = threading.Lock()

    def _push(self, data):
        self._plugin_manager.send_plugin_message(self._identifier, data)

    def on_after_startup(self):
        leaks.forbid_core_dumps()
        self.gate.may_print()
        if self.service is not None:
            self.service.start()

    def initialize(self):
        self.gate.look_after(self._printer, self.http_gate.before_request)
        try:
            # Interrupted before `on_restored` was done: OctoPrint soon deletes what lies aside.
            backups.bring_back(Path(self._settings.global_get_basefolder("base")))
            self.gate.card.keep_in(Path(self.get_plugin_data_folder()))
            self.service = self._new_service()
        except Exception as error:
            # OctoPrint would switch the plugin off, and the gate with it.
            self._logger.exception("Licensed jobs can't be printed: their records can't be kept.")
            self.not_started = Message("not_started", {"reason": str(error)[:MAX_REASON]})

    def _new_service(self):
        return Service(
            Path(self.get_plugin_data_folder()),
            Path(self._settings.global_get_basefolder("base")),
            Path(self._settings.global_get_basefolder("uploads")),
            self._printer,
            self._file_manager,
            self.gate,
            lambda: {key: self._settings.get([key]) for key in DEFAULTS},
            self._store,
            self._push,
            self._plugin_manager,
            self._event_bus.fire,
        )

    def on_shutdown(self):
        if self.service is not None:
            self.service.stop()

    def on_event(self, event, payload):
        if self.service is not None:
            self.service.on_event(event, payload)

    def get_settings_defaults(self):
        return dict(DEFAULTS)

    def get_settings_restricted_paths(self):
        return {"admin": [[key] for key in DEFAULTS]}

    def _store(self, changes):
        with self._storing:
            for key, value in changes.items():
                self._settings.set([key], value)
            self._settings.save(trigger_event=True)

    def on_settings_save(self, data):
        # It writes all settings as they were when it began: a policy chosen meanwhile would be undone.
        with self._storing:
            saved = super().on_settings_save(unguarded(data))
        if self.service is not None:
            self.service.catalog.refresh_soon()
        return saved

    def get_permissions(self, *_args, **_kwargs):
        return [
            {
                "key": "PRINT",
                "name": gettext("Print licensed jobs"),
                "description": gettext("Allows to use copies of licenses and to print them"),
                "roles": ["print"],
                "default_groups": [USER_GROUP],
            },
            {
                "key": "REPORT",
                "name": gettext("Report failed prints"),
                "description": gettext("Allows to report to the chain that a print failed, which is public"),
                "roles": ["report"],
                "default_groups": [USER_GROUP],
            },
            {
                "key": "MANAGE",
                "name": gettext("Set up licensed jobs"),
                "description": gettext("Allows to test and change the connection to chain, portal and desk"),
                "roles": ["manage"],
                "dangerous": True,
                "default_groups": [ADMIN_GROUP],
            },
        ]

    def on_received(self, comm, line, *_args, **_kwargs):
        return terminal.on_received(comm, self.gate.on_received(comm, line))

    def get_request_handlers(self, *_args, **_kwargs):
        return [self.http_gate.before_request]

    def get_update_checks(self, *_args, **_kwargs):
        return updates.checks(self._settings.get(["update_url"]), self._plugin_version)

    def get_backup_excludes(self, *_args, **_kwargs):
        return list(backups.EXCLUDES)

    def on_restored(self, *_args, **_kwargs):
        # The command line restores too, and gives plugins no settings.
        base = Path(octoprint.settings.settings().getBaseFolder("base"))
        if self.service is not None and backups.is_aside(base):
            # Whatever is taken over: nothing new begins with a journal that may be deleted soon.
            self.service.stop()
        backups.bring_back(base)


def __plugin_load__():
    global __plugin_implementation__, __plugin_hooks__
    plugin = __plugin_implementation__ = ImprimaturPlugin()
    __plugin_hooks__ = {
        "octoprint.comm.protocol.gcode.queuing": (plugin.gate.on_queuing, gate.ORDER),
        "octoprint.comm.protocol.gcode.sending": (plugin.gate.on_sending, gate.ORDER),
        "octoprint.comm.protocol.gcode.received": (plugin.on_received, terminal.FIRST),
        "octoprint.printer.factory": (printer.factory(plugin.gate), printer.ORDER),
        "octoprint.printer.handle_connect": connections.guard(plugin.gate),
        "octoprint.events.register_custom_events": events.names,
        "octoprint.server.api.before_request": plugin.get_request_handlers,
        "octoprint.access.permissions": plugin.get_permissions,
        "octoprint.plugin.backup.additional_excludes": plugin.get_backup_excludes,
        "octoprint.plugin.backup.after_restore": plugin.on_restored,
        "octoprint.plugin.softwareupdate.check_config": plugin.get_update_checks,
    }
