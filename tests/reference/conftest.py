"""How long to search: `IMPRIMATUR_FUZZ=long` for a night, otherwise the same short run every time.

The short run reports what it found at once; `long` also looks for the shortest steps that show it.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_PLAIN = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile(
    "short", max_examples=20, stateful_step_count=40, derandomize=True, phases=[Phase.generate], **_PLAIN
)
settings.register_profile("long", max_examples=1000, stateful_step_count=120, **_PLAIN)
settings.load_profile(os.environ.get("IMPRIMATUR_FUZZ", "short"))
