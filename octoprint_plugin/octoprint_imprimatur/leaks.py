"""Who else could learn the lines of a confidential job, beside the printer: other plugins, and core dumps."""

import itertools
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from octoprint_imprimatur.messages import Message

OURS = "imprimatur"
_GCODE = "octoprint.comm.protocol.gcode"
_AT = "octoprint.comm.protocol.atcommand"
TRANSPORT = "octoprint.comm.transport.serial.factory"
HOOKS = (
    f"{_GCODE}.queuing",
    f"{_GCODE}.queued",
    f"{_GCODE}.sending",
    f"{_GCODE}.sent",
    f"{_AT}.queuing",
    f"{_AT}.sending",
    TRANSPORT,
)
"""Hooks of OctoPrint whose handlers are given lines of the file that is being printed.

Not among them: `error`, and `received` behind our own, because the terminal's curtain has cut quotations
there; `action`, whose prompts are made for the operator; scripts and temperatures, which hold no lines of a
file; the preprocessor of uploads and everything that reads files, because only a placeholder lies there.
"""
RECEIVED = f"{_GCODE}.received"
HARMLESS = frozenset(
    {
        # Forces an operator's answer to a prompt (M876) out; looks at nothing else and keeps nothing.
        ("action_command_prompt", f"{_GCODE}.queuing"),
        # It is the printer, in tests and demonstrations, and keeps a log of its own as a printer might.
        ("virtual_printer", TRANSPORT),
    }
)
"""Plugins that come with OctoPrint, hook by hook."""


Live = Mapping[str, Collection[str]]
NONE_LIVE: Live = {}


class PluginManager(Protocol):
    """OctoPrint's, as far as it is asked."""

    def get_hooks(self, hook: str) -> Mapping[str, Any]:
        """Handlers of enabled plugins by identifier."""

    def get_plugin_info(self, identifier: str, require_enabled: bool = True) -> Any:
        """With a `name`, and whether it is `bundled`; None when there is no such plugin."""


def foreign_hooks(plugins: PluginManager, live: Live = NONE_LIVE) -> list[tuple[str, str]]:
    """Identifier and name of each plugin that would see confidential lines, trusted or not, by name.

    Args:
        live: plugins that a connection has in use by hook. It keeps those that were switched off meanwhile.
    """
    found = {
        identifier: _name(plugins, identifier)
        for hook in HOOKS
        for identifier in {*plugins.get_hooks(hook), *live.get(hook, ())}
        if identifier != OURS and not _is_harmless(plugins, identifier, hook)
    }
    for handlers in (plugins.get_hooks(RECEIVED), live.get(RECEIVED, ())):
        before = itertools.takewhile(lambda identifier: identifier != OURS, handlers)
        found |= {identifier: _name(plugins, identifier) for identifier in before}
    return sorted(found.items(), key=lambda plugin: (plugin[1].casefold(), plugin[0]))


def problem(plugins: PluginManager, trusted: object, live: Live = NONE_LIVE) -> Message | None:
    """Why nothing confidential may be printed beside the other plugins; None when it may.

    Args:
        trusted: the list of plugins, by identifier, that an administrator trusts with confidential lines; of
            anything else that stands in the settings nobody is trusted.
        live: as for `foreign_hooks`.
    """
    listed = trusted if isinstance(trusted, list) else []
    found = [name for identifier, name in foreign_hooks(plugins, live) if identifier not in listed]
    return Message("foreign_hooks", {"plugins": ", ".join(found)}) if found else None


def _is_harmless(plugins: PluginManager, identifier: str, hook: str) -> bool:
    info = plugins.get_plugin_info(identifier, require_enabled=False)
    # Any other plugin can take the identifier of a bundled one.
    return (identifier, hook) in HARMLESS and bool(getattr(info, "bundled", False))


def _name(plugins: PluginManager, identifier: str) -> str:
    info = plugins.get_plugin_info(identifier, require_enabled=False)
    return str(getattr(info, "name", None) or identifier)


def forbid_core_dumps() -> None:
    """A crash of OctoPrint writes no memory to a disk.

    Lowers the soft limit of this process for as long as it runs; what it starts inherits that. The hard limit
    stays, so a process that OctoPrint starts may raise its own again. Systems without such limits make no
    core files by default.
    """
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
