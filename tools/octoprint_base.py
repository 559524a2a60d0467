"""Prepare a base folder in which OctoPrint runs without a wizard, with virtual printer and plugin set up.

    .venv-octoprint/bin/python tools/octoprint_base.py < spec.json

The specification comes by standard input, so that no password stands in a process list:

    {"basedir": "…", "users": [{"name": "…", "password": "…", "admin": true}], "api_key": "…" or null,
     "plugin": {"node_url": "…", …}, "virtual_printer": {…}, "disabled": ["another plugin", …]}

An existing folder keeps its users and data; the plugin's settings and the virtual printer's are renewed.
The plugin's translations are compiled as well, when their sources are newer.
"""

import json
import sys
from pathlib import Path
from typing import Any

DISABLED = [
    "achievements",
    "announcements",
    "discovery",
    "errortracking",
    "file_check",
    "firmware_check",
    "health_check",
    "pi_support",
    "softwareupdate",
    "tracking",
]
"""Bundled plugins that ask questions, call home, or cover the page with a dialog."""
TRANSLATIONS = Path(__file__).parents[1] / "octoprint_plugin" / "octoprint_imprimatur" / "translations"


def configuration(spec: dict[str, Any]) -> dict[str, Any]:
    """What config.yaml has to say, above what is there already."""
    return {
        "server": {
            "firstRun": False,
            "onlineCheck": {"enabled": False},
            "pluginBlacklist": {"enabled": False},
            "pluginBlocklist": {"enabled": False},
        },
        "plugins": {
            "_disabled": DISABLED + spec.get("disabled", []),
            "imprimatur": spec.get("plugin", {}),
            "virtual_printer": {
                "enabled": True,
                "throttle": 0.0,
                "sendWait": False,
                # The printer's stock settings lose and damage lines on purpose.
                "simulated_errors": [],
                **spec.get("virtual_printer", {}),
            },
        },
        "serial": {
            "port": "VIRTUAL",
            "baudrate": 115200,
            "autoconnect": True,
            # The virtual printer answers before OctoPrint listens for the position: a pause took 10 s.
            "logPositionOnPause": False,
        },
        "printerConnection": {
            "autoconnect": True,
            "preferred": {"connector": "serial", "parameters": {"port": "VIRTUAL", "baudrate": 115200}},
        },
        "gcodeAnalysis": {"runAt": "never"},
        # The first tab is the one that opens.
        "appearance": {"components": {"order": {"tab": ["plugin_imprimatur", "temperature", "control"]}}},
    }


def merged(old: Any, new: Any) -> Any:
    """`new` over `old`, dictionaries key by key."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: merged(old.get(key), value) for key, value in new.items()}
    return new


def write_yaml(path: Path, value: Any) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(yaml.safe_dump(value, allow_unicode=True))
    partial.replace(path)


def read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def add_users(basedir: Path, users: list[dict[str, Any]]) -> None:
    """Through OctoPrint's own user manager; users that exist are left alone."""
    known = read_yaml(basedir / "users.yaml")
    missing = [user for user in users if user["name"] not in known]
    if not missing:
        # OctoPrint takes seconds to be imported.
        return
    from octoprint import init_settings
    from octoprint.access.groups import FilebasedGroupManager
    from octoprint.access.users import FilebasedUserManager

    settings = init_settings(str(basedir), None)
    groups = FilebasedGroupManager()
    manager = FilebasedUserManager(group_manager=groups, settings=settings)
    for user in missing:
        of = [groups.admin_group, groups.user_group] if user.get("admin") else [groups.user_group]
        manager.add_user(user["name"], user["password"], active=True, permissions=[], groups=of)


def add_api_key(basedir: Path, owner: str, key: str) -> None:
    path = basedir / "data" / "appkeys" / "keys.yaml"
    keys = read_yaml(path)
    kept = [entry for entry in keys.get(owner, []) if entry.get("app_id") != "imprimatur"]
    write_yaml(path, keys | {owner: [*kept, {"app_id": "imprimatur", "api_key": key}]})


def compile_translations(folder: Path = TRANSLATIONS) -> None:
    """Each .po that is newer than its .mo."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for source in folder.glob("*/LC_MESSAGES/*.po"):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as file:
            catalog = read_po(file, locale=source.parents[1].name)
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            write_mo(file, catalog)
        partial.replace(target)


def prepare(spec: dict[str, Any]) -> None:
    basedir = Path(spec["basedir"]).resolve()
    config = basedir / "config.yaml"
    write_yaml(config, merged(read_yaml(config), configuration(spec)))
    users = spec.get("users", [])
    add_users(basedir, users)
    if spec.get("api_key"):
        admins = [user["name"] for user in users if user.get("admin")]
        if not admins:
            raise SystemExit("An API key needs an administrator among the users.")
        add_api_key(basedir, admins[0], spec["api_key"])
    compile_translations()


if __name__ == "__main__":
    prepare(json.load(sys.stdin))
