"""
A server's wall clock that can be set: a library that is loaded before all others adds an offset to what it reads.

The offset stands in a file that the library maps, so that it changes under the server's feet. It needs a C compiler.
"""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")


def compiler() -> str | None:
    """Return the C compiler of this machine, if it has one."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


class ServerClock:
    """The wall clock of a server that is started in `environment`; `tell` hears of each setting before it is done."""

    def __init__(self, folder: Path, tell: Callable[[float], object] = float) -> None:
        found = compiler()
        if found is None:
            raise RuntimeError("to set a server's clock one needs a C compiler")
        self._tell, self._offset = tell, folder / "clock.offset"
        library = folder / "clock_shim.so"
        subprocess.run([found, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CHRONO_CLOCK_OFFSET": str(self._offset)}
        self._write(0.0)
        for path in (folder, library, self._offset):
            path.chmod(0o755)

    def set(self, seconds: float) -> None:
        """Let the clock be ahead by so many seconds."""
        self._tell(seconds)
        self._write(seconds)

    def _write(self, seconds: float) -> None:
        data = struct.pack("q", int(seconds * 1_000_000_000))
        if not self._offset.exists():
            self._offset.write_bytes(data)
        else:
            with self._offset.open("r+b") as file:  # in place: it is mapped
                file.write(data)
