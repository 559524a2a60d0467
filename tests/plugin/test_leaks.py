"""Which other plugins would see the lines of a confidential job."""

import resource
from types import SimpleNamespace
from typing import Any

import pytest

from octoprint_imprimatur import leaks

QUEUING = "octoprint.comm.protocol.gcode.queuing"


class Plugins:
    """A plugin manager with these hooks. `bundled` come with OctoPrint."""

    bundled = ("action_command_prompt", "virtual_printer")

    def __init__(self, hooks: dict[str, list[str]], names: dict[str, str] | None = None) -> None:
        self._hooks = hooks
        self._names = names or {}

    def get_hooks(self, hook: str) -> dict[str, Any]:
        return dict.fromkeys(self._hooks.get(hook, []), print)

    def get_plugin_info(self, identifier: str, require_enabled: bool = True) -> Any:
        assert not require_enabled
        name, bundled = self._names.get(identifier), identifier in self.bundled
        return SimpleNamespace(name=name, bundled=bundled) if name or bundled else None


def test_a_plain_octoprint_keeps_secrets() -> None:
    plugins = Plugins(
        {
            QUEUING: ["action_command_prompt", "imprimatur"],
            "octoprint.comm.protocol.gcode.sending": ["imprimatur"],
            leaks.TRANSPORT: ["virtual_printer"],
            leaks.RECEIVED: ["imprimatur", "a_stranger"],
            "octoprint.filemanager.preprocessor": ["a_stranger"],
        }
    )
    assert leaks.foreign_hooks(plugins) == []
    assert leaks.problem(plugins, []) is None


@pytest.mark.parametrize("hook", leaks.HOOKS)
def test_each_hook_that_sees_lines_is_found(hook: str) -> None:
    plugins = Plugins({hook: ["imprimatur", "obico"]}, {"obico": "Obico"})
    assert leaks.foreign_hooks(plugins) == [("obico", "Obico")]
    problem = leaks.problem(plugins, ["another"])
    assert problem is not None
    assert problem.values == {"plugins": "Obico"}
    assert leaks.problem(plugins, ["obico"]) is None


def test_one_that_isnt_trusted_is_enough() -> None:
    plugins = Plugins({QUEUING: ["b", "a"], leaks.TRANSPORT: ["c", "a"]}, {"a": "Zebra", "b": "anvil"})
    assert leaks.foreign_hooks(plugins) == [("b", "anvil"), ("c", "c"), ("a", "Zebra")]
    problem = leaks.problem(plugins, ["a", "b"])
    assert problem is not None
    assert problem.values == {"plugins": "c"}


def test_a_bundled_plugin_is_harmless_only_where_it_was_looked_at() -> None:
    plugins = Plugins({"octoprint.comm.protocol.gcode.sent": ["virtual_printer"]})
    assert [identifier for identifier, _ in leaks.foreign_hooks(plugins)] == ["virtual_printer"]


def test_a_plugin_that_took_a_bundled_ones_name_isnt_harmless() -> None:
    plugins = Plugins({QUEUING: ["action_command_prompt"]}, {"action_command_prompt": "Forked"})
    plugins.bundled = ()
    assert leaks.foreign_hooks(plugins) == [("action_command_prompt", "Forked")]


def test_what_a_connection_has_in_use_counts_too() -> None:
    plugins = Plugins({leaks.RECEIVED: ["imprimatur", "late"]})
    assert leaks.foreign_hooks(plugins, {leaks.TRANSPORT: ["proxy"]}) == [("proxy", "proxy")]
    before_the_cut = {leaks.RECEIVED: ["early", "imprimatur", "late"]}
    assert leaks.foreign_hooks(plugins, before_the_cut) == [("early", "early")]
    assert leaks.foreign_hooks(Plugins(before_the_cut)) == [("early", "early")]


def test_a_setting_that_makes_no_sense_trusts_nobody() -> None:
    plugins = Plugins({QUEUING: ["obi"]})
    assert leaks.problem(plugins, "obico") is not None
    assert leaks.problem(plugins, None) is not None


def test_a_crash_writes_no_core() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        leaks.forbid_core_dumps()
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
