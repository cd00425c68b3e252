"""Fail unless every public name is completely typed, as `pyright --verifytypes` sees it."""

import json
import subprocess
import sys

run = subprocess.run(
    [sys.executable, "-m", "pyright", "--verifytypes", "chrono_async", "--ignoreexternal", "--outputjson"],
    capture_output=True,
    text=True,
    check=False,
)
report = json.loads(run.stdout)["typeCompleteness"]
score = report["completenessScore"]
print(f"typed: {score:.2%}")
for symbol in report["symbols"]:
    if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]):
        print(symbol["name"], *(d["message"] for d in symbol["diagnostics"]), sep="\n  ")
sys.exit(0 if score == 1.0 else 1)
