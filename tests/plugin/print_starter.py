"""An OctoPrint plugin of one file that starts prints in every way that a plugin can, and counts what moves.

It also gets in the gate's way as a careless or hostile plugin would, when it is told to.
"""

import contextlib
import functools
import threading
import time

import flask
import octoprint.plugin
from octoprint.settings import settings

__plugin_name__ = "Print starter"
__plugin_version__ = "1.0"
__plugin_description__ = "Starts prints from inside OctoPrint."
__plugin_pythoncompat__ = ">=3.11,<4"

_moves = {"made": 0, "seconds": 0.0}


def _count_moves():
    """What the machine behind the virtual printer does, wherever it was told to: serial line or card."""
    from octoprint.plugins.virtual_printer.virtual import VirtualPrinter

    move = VirtualPrinter._performMove

    def counted(self, line):
        _moves["made"] += 1
        if _moves["seconds"]:
            time.sleep(_moves["seconds"])
        move(self, line)

    VirtualPrinter._performMove = counted


class Starter(octoprint.plugin.SimpleApiPlugin, octoprint.plugin.EventHandlerPlugin):
    def __init__(self):
        self._started = []
        self._refused = []
        self._undo = []

    def initialize(self):
        self._plugin_manager.register_message_receiver(self._on_message)

    def _on_message(self, plugin, data, permissions=None):
        if plugin == "imprimatur" and data.get("type") == "refused":
            self._refused.append(data["message"]["key"])

    def on_event(self, event, payload):
        if event == "PrintStarted" or (event == "PrinterStateChanged" and payload["state_id"] == "STARTING"):
            self._started.append(event)

    def get_api_commands(self):
        return {
            "select_and_start": ["path"],
            "start_in_the_middle": ["path"],
            "select_to_print": ["path"],
            "select_card_to_print": ["path"],
            "comm": ["path"],
            "comm_class": ["path"],
            "card": ["path"],
            "comm_card": ["path"],
            "commands": ["lines"],
            "part_of_job": ["lines"],
            "script": ["name"],
            "restart": [],
            "slow": ["seconds"],
            "write_card": ["name"],
            "policy": ["policy"],
            "forget": [],
            "sabotage": ["what"],
            "repair": [],
        }

    def is_api_protected(self):
        return True

    @property
    def _gate(self):
        plugin = self._plugin_manager.plugin_implementations.get("imprimatur")
        return plugin and plugin.gate

    def on_api_get(self, request):
        gate = self._gate
        return flask.jsonify(
            moves=_moves["made"],
            started=self._started,
            refused=self._refused,
            gate=gate and gate.status(),
        )

    def on_api_command(self, command, data):
        path = data.get("path")
        if command == "restart":
            self._printer.start_print()
        elif command == "select_and_start":
            self._printer.select_file(path, False)
            self._printer.start_print()
        elif command == "start_in_the_middle":
            self._printer.select_file(path, False)
            self._printer.start_print(pos=10)
        elif command == "select_to_print":
            self._printer.select_file(path, False, printAfterSelect=True)
        elif command == "select_card_to_print":
            self._printer.select_file(path, True, printAfterSelect=True)
        elif command == "comm":
            self._printer.select_file(path, False)
            self._printer._comm.startPrint()
        elif command == "comm_class":
            # Around what stands in the way of `comm.startPrint`.
            self._printer.select_file(path, False)
            comm = self._printer._comm
            type(comm).startPrint(comm)
        elif command == "card":
            self._printer.add_sd_file(path, self._file_manager.path_on_disk("local", path))
        elif command == "comm_card":
            # OctoPrint 2 has to learn that it failed.
            with contextlib.suppress(OSError):
                self._printer._comm.startFileTransfer(self._file_manager.path_on_disk("local", path), path)
        elif command == "commands":
            self._printer.commands(data["lines"], force=True)
        elif command == "part_of_job":
            for line in data["lines"]:
                self._printer._comm.sendCommand(line, part_of_job=True)
            self._turn_the_queue()
        elif command == "script":
            self._printer.script(data["name"], part_of_job=True)
            self._turn_the_queue()
        elif command == "slow":
            _moves["seconds"] = data["seconds"]
        elif command == "write_card":
            # As a printer goes on with it, whatever becomes of OctoPrint.
            self._printer._comm._serial._writeSdFile(data["name"])
        elif command == "policy":
            settings().set(["plugins", "imprimatur", "policy"], data["policy"], force=True)
        elif command == "forget":
            self._started, self._refused = [], []
            if self._gate:
                self._gate._told.clear()
                self._gate._turns.clear()
        elif command == "sabotage":
            self._undo.append(getattr(self, f"_sabotage_{data['what']}")())
        elif command == "repair":
            while self._undo:
                self._undo.pop()()

    def _turn_the_queue(self):
        # Lines of a job that isn't there wait for an answer of the printer while nothing else is to be sent;
        # one line goes for each.
        for _ in range(15):
            self._printer.commands("M114")
            time.sleep(0.02)

    # In the gate's way -------------------------------------------------------------------------------------

    def _replace(self, owner, name, value):
        own = vars(owner).get(name)
        setattr(owner, name, value)
        return (lambda: setattr(owner, name, own)) if own is not None else (lambda: delattr(owner, name))

    def _sabotage_start(self):
        """The connection's own start instead of the guard."""
        comm = self._printer._comm
        return self._replace(comm, "startPrint", functools.partial(type(comm).startPrint, comm))

    def _sabotage_wrapped_start(self):
        """A start that says it is the guard."""
        comm = self._printer._comm
        guard = comm.startPrint

        @functools.wraps(guard)
        def start(*args, **kwargs):
            return guard(*args, **kwargs)

        return self._replace(comm, "startPrint", start)

    def _sabotage_hooks(self):
        """No hook sees a line any more."""
        comm = self._printer._comm
        return self._replace(comm, "_gcode_hooks", {phase: {} for phase in comm._gcode_hooks})

    def _sabotage_last(self):
        """A hook behind the gate's own."""
        hooks = self._plugin_manager._plugin_hooks["octoprint.comm.protocol.gcode.sending"]
        hook = (10**9, "print_starter", lambda *args, **kwargs: None)
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    def _sabotage_sending(self):
        """Lines that are changed right before they leave, by all connections."""
        cls = type(self._printer._comm)
        send = cls._do_send

        @functools.wraps(send)
        def changed(comm, *args, **kwargs):
            return send(comm, *args, **kwargs)

        return self._replace(cls, "_do_send", changed)

    def _sabotage_at_once(self):
        """Emergency commands that are changed after all hooks have seen them."""
        comm = self._printer._comm
        send = comm._emergency_force_send
        return self._replace(comm, "_emergency_force_send", lambda *args, **kwargs: send(*args, **kwargs))

    def _sabotage_requests(self):
        """Nobody is asked about requests."""
        from octoprint.server import app

        handlers, kept = app.before_request_funcs["api"], list(app.before_request_funcs["api"])
        handlers[:] = []
        return lambda: handlers.extend(kept)

    def _sabotage_settings(self):
        """The plugin's settings can't be read."""
        plugin = self._plugin_manager.plugin_implementations["imprimatur"]
        get = plugin._settings.get

        def broken(path, *args, **kwargs):
            if path == ["policy"]:
                raise OSError("config.yaml can't be read")
            return get(path, *args, **kwargs)

        return self._replace(plugin._settings, "get", broken)

    def _sabotage_judgement(self):
        """The check of a line fails."""
        from octoprint_imprimatur import policy

        def broken(*_args):
            raise RuntimeError("judging is broken")

        return self._replace(policy, "judge", broken)

    def _sabotage_slowly(self):
        """A lock that the sending thread needs is held for a while, as a busy plugin does."""
        lock = self._printer._comm._sendingLock

        def hold():
            with lock:
                time.sleep(0.3)

        thread = threading.Thread(target=hold)
        thread.start()
        return thread.join


def __plugin_load__():
    global __plugin_implementation__
    _count_moves()
    __plugin_implementation__ = Starter()
