"""The house's commands: `nox -s tests`, `nox -s lint`, `nox -s bench`, `nox -s chaos`."""

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

IN_MEMORY = ["cron", "burst", "registration", "dispatch", "lateness", "steady", "idle", "imports"]
STORED = ["durable_sqlite", "durable_postgres", "durable_redis", "herd", "stored"]


@nox.session(python=["3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the suite on the interpreters beside the one that one works on, but for what takes long everywhere."""
    session.install("-e", ".[test]")
    session.run("pytest", "-q", "-m", "not long", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style and types."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("python", ".ci/verify_types.py")


@nox.session
def simulate(session: nox.Session) -> None:
    """Let as many worlds live as you like: `nox -s simulate -- --seeds 10000 [--eight-methods]`."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.simulation", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure, side by side with the peers: `nox -s bench -- cron`."""
    session.install("-e", ".[bench]")
    session.install("-e", ".[peers]", success_codes=[0, 1])  # those that cannot be installed here are left out
    names = session.posargs or [*IN_MEMORY, *STORED]
    for name in names:
        session.run("python", "-m", f"benchmarks.{name}")


@nox.session
def chaos(session: nox.Session) -> None:
    """Let real processes on real servers go wrong: `nox -s chaos -- --storage postgres --seconds 60 [--seed 7]`."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.chaos", *session.posargs)
