"""A board on this machine: a real ssh server, reached by the real `ssh` program.

Commands run in a shell in a folder of their own, with this Python as `python3`.
"""

import asyncio
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import asyncssh

CHUNK = 65536


async def _handle(process, home, environment, tasks, link):
    tasks.append(asyncio.current_task())
    link.open.append(process.channel.get_connection())
    if link.drops_on and link.drops_on in process.command:
        await asyncio.sleep(0.2)
        process.channel.get_connection().abort()
        return
    child = await asyncio.create_subprocess_shell(
        process.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env=environment,
    )

    async def feed():
        try:
            with suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
                while data := await process.stdin.read(CHUNK):
                    child.stdin.write(data)
                    await child.stdin.drain()
        finally:
            child.stdin.close()

    async def drain(source, target):
        while data := await source.read(CHUNK):
            link.heard += data
            with suppress(BrokenPipeError, ConnectionError):  # a dropped link; the rest is lost
                target.write(data)

    feeding = asyncio.create_task(feed())
    await asyncio.gather(drain(child.stdout, process.stdout), drain(child.stderr, process.stderr))
    code = await child.wait()
    feeding.cancel()
    with suppress(BrokenPipeError, ConnectionError):
        process.exit(code)


@contextmanager
def local_board(folder: Path, monkeypatch) -> Iterator[SimpleNamespace]:
    """Start the server and make `ssh board` lead to it.

    Yields the board's ``home`` and ``programs``, which come first in its PATH. A command that holds
    the words ``link.drops_on`` loses its connection; after ``link.drop()`` all that are open do,
    and after ``link.lose()`` there are no others, either.
    As under any server of ssh, what ran goes on, at the end of its standard input. What commands
    print comes to ``link.heard``, too.
    """
    home, programs = folder / "home", folder / "bin"
    for each in (home, programs):
        each.mkdir(parents=True)
    # No link: a virtual environment's Python must be called by its own path.
    (programs / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python3").chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "key")
    (folder / "key").chmod(0o600)
    (folder / "authorized").write_bytes(key.export_public_key())
    link = SimpleNamespace(drops_on="", open=[], heard=b"")
    tasks = []
    loop = asyncio.new_event_loop()

    async def start():
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(folder / "authorized"),
            process_factory=lambda process: _handle(process, home, environment, tasks, link),
            encoding=None,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    (folder / "config").write_text(
        "Host board\n"
        f"  HostName 127.0.0.1\n  Port {server.get_port()}\n  User somebody\n"
        f"  IdentityFile {folder / 'key'}\n  IdentitiesOnly yes\n  BatchMode yes\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        "Host nowhere\n  HostName 127.0.0.1\n  Port 1\n  BatchMode yes\n"
    )
    monkeypatch.setenv("COMPACTMTL_SSH", f"ssh -F {folder / 'config'}")

    async def drop():
        for connection in link.open:
            connection.abort()

    async def lose():
        server.close()
        await drop()

    link.drop = lambda: asyncio.run_coroutine_threadsafe(drop(), loop).result(30)
    link.lose = lambda: asyncio.run_coroutine_threadsafe(lose(), loop).result(30)

    async def stop():
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield SimpleNamespace(home=home, programs=programs, environment=environment, link=link)
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def has_ssh() -> bool:
    """Tell whether there is an ssh client here."""
    return shutil.which("ssh") is not None
