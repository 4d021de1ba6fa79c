"""How long does ``import autokit`` take, and what does it load?

Each import runs in a fresh process; `value` is its wall seconds less those of an empty process.
"""

from __future__ import annotations

import json
import subprocess
import sys

import record

HEAVY = ("tensorflow", "keras", "sklearn", "numpy")
CODE = f"""
import json, sys, time
started = time.perf_counter()
import autokit
took = time.perf_counter() - started
print(json.dumps([took, [m for m in {HEAVY!r} if m in sys.modules]]))
"""


def main():
    options = record.arguments(__doc__, seeds=5)
    lines = []
    for seed in range(options.seeds):
        output = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
        seconds, loaded = json.loads(output.stdout)
        assert not loaded, f"import autokit loaded {loaded}"
        lines.append(record.write("import_time", "import autokit", "-", seed, seconds))
    print(record.table(lines, {"value": 4}))


if __name__ == "__main__":
    main()
