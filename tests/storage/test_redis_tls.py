"""
`rediss://`: what is sent to a Redis behind TLS, and to whom it is not sent.

The server of the tests' wheel knows no TLS, so something before it ends that, as it does at many providers. The
certificate is made by `openssl`; where there is none, nothing is tested here.
"""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chrono_async.errors import StorageError
from tests import servers

from .redis_steps import Open, jobs, put, run

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """One that vouches for itself, with its key beside it."""
    path = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_suffix(".key"), "-out", path]
    subprocess.run([*command, *about, *files], check=True, capture_output=True)
    return path


@pytest.fixture
async def tls_url(certificate: Path) -> AsyncIterator[str]:
    """The URL of this process's server behind TLS. To be asked for before storages, which let go of it first."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    front = await asyncio.start_server(_to_the_server, "127.0.0.1", 0, ssl=context)
    yield f"rediss://127.0.0.1:{front.sockets[0].getsockname()[1]}/0"
    front.close()
    await front.wait_closed()


async def _to_the_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_connection("127.0.0.1", servers.redis().port)
    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_jobs_are_kept_and_hints_heard_over_tls(tls_url: str, certificate: Path, open_: Open) -> None:
    """By a client that knows the certificate; what it writes, others see."""
    storage = open_(f"{tls_url}?ssl_ca_certs={certificate}")
    async with asyncio.timeout(10):
        await anext(storage.changes())
    await put(storage, jobs(3))
    await run(storage, "job 00000")
    assert [record.id for record in await open_().list_jobs()] == [record.id for record in jobs(3)]
    assert len(await storage.list_runs()) == 1


async def test_a_server_that_nobody_vouches_for_is_told_nothing(tls_url: str, open_: Open) -> None:
    """The driver checks the certificate, unless one tells it not to."""
    with pytest.raises(StorageError, match=r"(?i)certificate verify failed"):
        await open_(tls_url).save_job(jobs(1)[0])
    trusting = open_(f"{tls_url}?ssl_cert_reqs=none&ssl_check_hostname=false")
    assert await trusting.list_jobs() == []


async def test_a_server_without_tls_is_an_error_of_the_storage(open_: Open) -> None:
    """Within the limit, whatever the two say to each other."""
    storage = open_(servers.redis().url.replace("redis:", "rediss:"), timeout=2)
    with pytest.raises(StorageError, match="redis: "):
        await storage.list_jobs()
