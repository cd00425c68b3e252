"""Build the wheel, and fail unless every public name in it is completely typed, as `pyright --verifytypes` sees it."""

import json
import os
import subprocess
import sys
import tempfile

PIP = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
PYRIGHT = [sys.executable, "-m", "pyright", "--verifytypes", "chrono_async", "--ignoreexternal", "--outputjson"]

with tempfile.TemporaryDirectory() as folder:
    subprocess.run([*PIP, folder, "."], check=True)
    here = os.environ | {"PYTHONPATH": folder}
    command = [*PYRIGHT, "--pythonpath", sys.executable]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=here, cwd=folder)

report = json.loads(run.stdout)["typeCompleteness"]
score = report["completenessScore"]
print(f"typed: {score:.2%}")
for symbol in report["symbols"]:
    if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]):
        print(symbol["name"], *(d["message"] for d in symbol["diagnostics"]), sep="\n  ")
sys.exit(0 if score == 1.0 else 1)
