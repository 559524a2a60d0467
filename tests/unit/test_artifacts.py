"""The committed artifacts are what the compiler makes of the committed sources."""

import json

from imprimatur import artifacts
from tools import compile as compiler


def test_fresh_compile_gives_the_same_bytes():
    for name, artifact in compiler.compile_contracts().items():
        committed = (compiler.ARTIFACTS / f"{name}.json").read_text()
        assert committed == compiler.as_text(artifact), f"{name}: run tools/compile.py --write"
        assert json.loads(committed) == artifacts.load(name)


def test_contracts_fit_the_chains_size_limit():
    for name in compiler.DEPLOYED:
        assert len(artifacts.load(name)["deployedBytecode"]) // 2 - 1 <= compiler.SIZE_LIMIT
