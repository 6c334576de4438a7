"""Servers that tests start: installed ones, or those that `.ci/get-servers` has unpacked. A test whose server is missing is skipped."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from support import eventually

#: Where .ci/get-servers puts them.
ROOT = (
    pathlib.Path(os.environ.get("GOLIB_SERVERS", "~/.cache/golib/servers")).expanduser().absolute()
)
PATHS = [ROOT / "usr/bin", ROOT / "usr/sbin"]
SYSTEM = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def program(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name, path=SYSTEM) or next(
        (str(p / name) for p in PATHS if (p / name).exists()), None
    )
    if not found:
        pytest.skip(f"there is no {name}; .ci/get-servers unpacks one")
    return found


def environment() -> dict[str, str]:
    """With the private root's libraries behind the system's."""
    libraries = [ROOT / "usr/lib" / f"{os.uname().machine}-linux-gnu"]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def serving(command: list[str], port: int, log: pathlib.Path) -> Iterator[int]:
    """A server that has begun to listen."""
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment()
        )
    try:
        eventually(lambda: server.poll() is not None or answers(port), what=command[0])
        assert server.poll() is None, log.read_text()
        yield port
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def redis(folder: pathlib.Path) -> Iterator[int]:
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with serving([*command, "--dir", str(folder)], port, folder / "redis.log"):
        yield port


@contextlib.contextmanager
def mariadb(folder: pathlib.Path) -> Iterator[int]:
    """Without users: anyone may do anything."""
    name, port, data = program("mariadbd"), free_port(), folder / "data"
    data.mkdir()
    share = pathlib.Path(name).parent.parent / "share/mysql"
    command = [
        name,
        "--no-defaults",
        "--skip-grant-tables",
        f"--datadir={data}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={folder / 's'}",
        f"--pid-file={folder / 'pid'}",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        "--innodb-buffer-pool-size=8M",
        "--innodb-log-file-size=4M",
    ]
    if os.geteuid() == 0:
        command.append("--user=root")
    with serving(command, port, folder / "mariadb.log"):
        yield port


@contextlib.contextmanager
def mosquitto(folder: pathlib.Path) -> Iterator[int]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    command = [program("mosquitto"), "-c", str(config)]
    if os.geteuid() == 0:
        config.write_text(config.read_text() + "user root\n")
    with serving(command, port, folder / "mosquitto.log"):
        yield port


@contextlib.contextmanager
def sshd(folder: pathlib.Path) -> Iterator[tuple[int, pathlib.Path]]:
    """(port, the user's key)"""
    name, port = program("sshd"), free_port()
    if os.geteuid() != 0:
        pytest.skip("sshd lets only root start a session for somebody")
    os.makedirs("/run/sshd", exist_ok=True)
    for key in ("host", "user"):
        keygen = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(keygen, check=True, env=environment())
    config = folder / "sshd.conf"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\nPermitRootLogin yes\nUsePAM no\n"
        f"Subsystem sftp internal-sftp\nPidFile none\nMaxStartups 100\nMaxSessions 100\n"
    )
    command = [name, "-D", "-e", "-f", str(config)]
    try:
        pwd.getpwnam("sshd")
    except KeyError:  # which it needs to give up its rights; here it sees one
        users = folder / "passwd"
        users.write_text(
            pathlib.Path("/etc/passwd").read_text() + "sshd:x:65533:65533::/run/sshd:/bin/false\n"
        )
        script = 'mount --bind "$0" /etc/passwd && exec "$@"'
        command = [program("unshare"), "--mount", "sh", "-c", script, str(users), *command]
    with serving(command, port, folder / "sshd.log"):
        yield port, folder / "user"
