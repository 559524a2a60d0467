"""Where new versions of the plugin are announced: nowhere, unless an administrator names a place.

The setting `update_url` is the address of a JSON document, `{"version": "0.3.0"}`; the wheel of that version
lies beside it under the name that `run.py wheel` gives it. OctoPrint's own Software Update plugin does the
rest: it asks there as it asks for other plugins, and installs when somebody wants it to.
"""

import logging
from typing import Any
from urllib.parse import urljoin

from imprimatur.device.errors import AddressRefused
from imprimatur.device.http import check_address

WHEEL = "octoprint_imprimatur-{target_version}-py3-none-any.whl"
_log = logging.getLogger("octoprint.plugins.imprimatur.updates")


def checks(update_url: Any, version: str) -> dict[str, dict[str, Any]]:
    """What hook `octoprint.plugin.softwareupdate.check_config` registers: nothing without an address.

    What comes from there is installed and run, so another machine has to have TLS.

    Args:
        version: of this plugin.
    """
    url = str(update_url or "").strip()
    if not url:
        return {}
    try:
        check_address(url, allow_http=False)
    except AddressRefused:
        # Its own words are about portals.
        _log.error(
            "No updates are looked for: update_url has to begin with https://, without a user name, ? or #."
        )
        return {}
    folder = urljoin(url, ".").replace("{", "{{").replace("}", "}}")
    check = {
        "displayName": "Imprimatur",
        "displayVersion": version,
        "current": version,
        "type": "jsondata",
        "jsondata": url,
        "pip": folder + WHEEL,
    }
    return {"imprimatur": check}
