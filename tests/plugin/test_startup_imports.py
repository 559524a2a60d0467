"""Loading the plugin stays light: what chain, sealing and schemas need is imported when it is first used."""

import json
import subprocess
import sys

HEAVY = ("Crypto", "eth_abi", "eth_account", "eth_utils", "jsonschema", "pkcs11", "pyrage", "rlp", "web3")
LOAD = """
import sys, json
import octoprint.server, octoprint.util.comm, requests
before = set(sys.modules)
import octoprint_imprimatur
octoprint_imprimatur.__plugin_load__()
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "octoprint_imprimatur" in loaded
    assert [name for name in loaded if name in HEAVY] == []
