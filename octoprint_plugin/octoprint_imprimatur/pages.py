"""What browsers get: the tab, the settings, and a wizard that leads through the set-up."""

from typing import Any

import octoprint.plugin
from flask_babel import gettext

SCRIPTS = ("words", "cards", "steps", "dialogs", "camera", "setup", "jobs")
"""In the order in which they need each other."""


def _wizard() -> list[dict[str, Any]]:
    """The wizard's pages. OctoPrint sorts them by name."""
    names = [gettext("Start"), gettext("Key"), gettext("Portal"), gettext("Gate"), gettext("Test")]
    title = gettext("Licensed jobs")
    return [
        {
            "type": "wizard",
            "name": f"{title} {number} · {name}",
            "template": f"imprimatur_wizard_{number}.jinja2",
            "suffix": f"_{number}",
            "custom_bindings": True,
        }
        for number, name in enumerate(names, 1)
    ]


class Pages(
    octoprint.plugin.AssetPlugin,
    octoprint.plugin.TemplatePlugin,
    octoprint.plugin.WizardPlugin,
):
    """Mixed into the plugin. The wizard comes once, to an administrator, while there is no chain to read."""

    _settings: Any

    def get_assets(self) -> dict[str, list[str]]:
        return {"js": [f"js/{name}.js" for name in SCRIPTS], "css": ["css/imprimatur.css"]}

    def get_template_configs(self) -> list[dict[str, Any]]:
        name = gettext("Licensed jobs")
        return [
            {"type": "tab", "name": name, "custom_bindings": True},
            {"type": "settings", "name": name, "custom_bindings": True},
            *_wizard(),
        ]

    def is_template_autoescaped(self) -> bool:
        return True

    def is_wizard_required(self) -> bool:
        return not (self._settings.get(["node_url"]) and self._settings.get(["contract"]))

    def get_wizard_version(self) -> int:
        return 1
