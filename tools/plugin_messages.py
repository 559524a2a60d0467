"""The plugin's README lists every sentence that operators may read, and what to do about it.

    python -m tools.plugin_messages            say whether the table is up to date
    python -m tools.plugin_messages --write    renew it

The sentences are those of `octoprint_imprimatur.messages.TEXTS`, in the order of the alphabet, because who
has one of them before their eyes looks for its first word. `ADVICE` adds what doesn't fit into a message.
"""

import argparse
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "octoprint_plugin"
README = PLUGIN / "README.md"
BEGIN, END = "<!-- messages: tools/plugin_messages.py -->", "<!-- end of messages -->"
ADVICE = {
    "key_unusable": "With a keystore: put `printer-key.json` and `printer-key.password` back from your copy. "
    "With a token: is it plugged in, and is the PIN right?",
    "node_down": "Does the node's address open from this machine (`curl`)? Does its firewall let you in?",
    "node_trouble": "Does it speak of a limit, or of too many questions? Enter a node that gives more.",
    "other_chain": "The node's address is that of another network than the portal works on.",
    "no_contract": "Take the contract's address from the portal's page, or connect by invitation once more.",
    "printer_not_ready": "Press *Connect* in OctoPrint's sidebar.",
    "copy_waiting": "It stands at the top of the tab, with the button *Print*.",
    "not_enrolled": "Ask for an invitation and paste it under Settings → *Licensed jobs* → *Portal*.",
    "foreign_hooks": "The plugins are named in Settings → *Licensed jobs* → *Trusted plugins*.",
    "check_failed": "This is a fault of the plugin. The line was not sent, and the print was ended.",
    "portal_unreachable": "Is the network up? If the portal answers elsewhere, a proxy may block it here.",
    "not_final": "The chain decides how long: seconds on a private one, a quarter of an hour on Ethereum.",
    "disk_trouble": "The plugin leaves 64 MB of the disk free for everything else.",
    "signer_unusable": "With a token: pull it out, plug it in, try again.",
    "not_carried": "The portal pays for carrying uses to the chain. A few coins on the printer's address let "
    "it do that itself.",
    "wrong_manifest": "Tell the owner of the license.",
    "ready": "Press *Print* when you are ready. That costs nothing more.",
    "finished": "There is nothing to do.",
    "failure_pending": "Just wait; it is sent again until it has arrived.",
    "given_back": "The license has that copy once more.",
    "replaced": "Look at the license's copies in the list.",
    "other_description": "Tell the owner of the license. It can't be printed until she puts that right.",
    "invitation_unreadable": "Copy the whole code or link from the portal once more.",
    "key_refused": "Is the module's path right, and are token, label and PIN spelled as on the token?",
    "interrupted": "After a power cut nothing starts by itself, so look at the bed first.",
}
# A reason that is put in is a sentence of its own.
_FIRST = re.compile(r"(.*?[A-Za-z].*?(?:[.!?]|…(?=\s+[A-Z])))(?:\s+|$)")
_PLACE = re.compile(r"%\(\w+\)[sd]")


def texts() -> dict[str, str]:
    """Every sentence by its key, without those that are parts of others."""
    module = runpy.run_path(str(PLUGIN / "octoprint_imprimatur" / "messages.py"))
    return {key: text for key, text in module["TEXTS"].items() if key not in module["REFUSALS"]}


def refusals() -> list[str]:
    """What a key desk may refuse with."""
    module = runpy.run_path(str(PLUGIN / "octoprint_imprimatur" / "messages.py"))
    return list(module["REFUSALS"].values())


def row(key: str, text: str) -> tuple[str, str]:
    """What a message says first, and the rest of it with our advice."""
    told = _PLACE.sub("…", text).replace("|", "\\|")
    first = _FIRST.match(told)
    head = first[1] if first else told
    rest = " ".join(filter(None, (told[len(head) :].strip(), ADVICE.get(key))))
    return head, rest


def table() -> str:
    """The section between the marks."""
    rows = sorted(
        (row(key, text) for key, text in texts().items()), key=lambda cells: cells[0].lstrip("… ").lower()
    )
    lines = ["| it says | which means |", "|---|---|", *(f"| {head} | {rest} |" for head, rest in rows)]
    reasons = ", ".join(refusals())
    return "\n".join(
        [BEGIN, *lines, "", f"A key desk withholds a key for one of these reasons: {reasons}.", END]
    )


def renewed(readme: str) -> str:
    """The README with the table of now.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} has no marks for the table: {BEGIN} and {END}.")
    return before + table() + after


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--write", action="store_true", help="renew the table")
    readme = README.read_text()
    new = renewed(readme)
    if options.parse_args(arguments).write:
        README.write_text(new)
    elif new != readme:
        sys.stderr.write(
            "The messages in octoprint_plugin/README.md are out of date. "
            "Renew them: .venv/bin/python -m tools.plugin_messages --write\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
