"""OctoPrint-Imprimatur: prints licensed files, one copy of a license for each print. Wiring only."""

from pathlib import Path

import octoprint.plugin
from flask_babel import gettext
from octoprint.access import ADMIN_GROUP, USER_GROUP

from octoprint_imprimatur import gate, keys
from octoprint_imprimatur.api import Api
from octoprint_imprimatur.connection import DEFAULTS
from octoprint_imprimatur.service import BACKUP_EXCLUDES, Service

__plugin_name__ = "Imprimatur"
__plugin_pythoncompat__ = ">=3.11,<4"


class ImprimaturPlugin(
    octoprint.plugin.StartupPlugin,
    octoprint.plugin.ShutdownPlugin,
    octoprint.plugin.SettingsPlugin,
    octoprint.plugin.AssetPlugin,
    octoprint.plugin.TemplatePlugin,
    octoprint.plugin.EventHandlerPlugin,
    Api,
):
    """Hands OctoPrint's calls on to those who do the work."""

    def __init__(self):
        # Closed from the first moment: nothing is permitted until the flow permits it.
        self.gate = gate.Gate(lambda message: self._push({"type": "refused", "message": message.as_json()}))
        self.service = None

    def _push(self, data):
        self._plugin_manager.send_plugin_message(self._identifier, data)

    def on_after_startup(self):
        self.service.start()

    def initialize(self):
        self.service = Service(
            Path(self.get_plugin_data_folder()),
            self._printer,
            self._file_manager,
            self.gate,
            lambda: {key: self._settings.get([key]) for key in DEFAULTS},
            self._push,
        )

    def on_shutdown(self):
        self.service.stop()

    def on_event(self, event, payload):
        if self.service is not None:
            self.service.machine.on_event(event, payload)

    def get_settings_defaults(self):
        return dict(DEFAULTS)

    def get_settings_restricted_paths(self):
        return {"admin": [[key] for key in DEFAULTS]}

    def on_settings_save(self, data):
        saved = super().on_settings_save(data)
        self.service.catalog.refresh_soon()
        return saved

    def get_assets(self):
        return {"js": ["js/imprimatur.js"], "css": ["css/imprimatur.css"]}

    def get_template_configs(self):
        return [
            {"type": "tab", "name": gettext("Licensed jobs"), "custom_bindings": True},
            {"type": "settings", "name": gettext("Licensed jobs"), "custom_bindings": True},
        ]

    def is_template_autoescaped(self):
        return True

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
                "key": "MANAGE",
                "name": gettext("Set up licensed jobs"),
                "description": gettext("Allows to test and change the connection to chain, portal and desk"),
                "roles": ["manage"],
                "dangerous": True,
                "default_groups": [ADMIN_GROUP],
            },
        ]

    def get_request_handlers(self, *_args, **_kwargs):
        return [self.gate.before_request]

    def get_backup_excludes(self, *_args, **_kwargs):
        return [*keys.BACKUP_EXCLUDES, *BACKUP_EXCLUDES]


def __plugin_load__():
    global __plugin_implementation__, __plugin_hooks__
    plugin = __plugin_implementation__ = ImprimaturPlugin()
    __plugin_hooks__ = {
        "octoprint.comm.protocol.gcode.queuing": (plugin.gate.on_queuing, gate.ORDER),
        "octoprint.comm.protocol.gcode.sending": (plugin.gate.on_sending, gate.ORDER),
        "octoprint.server.api.before_request": plugin.get_request_handlers,
        "octoprint.access.permissions": plugin.get_permissions,
        "octoprint.plugin.backup.additional_excludes": plugin.get_backup_excludes,
    }
