"""Run a program that nobody vouches for.

Two roads, each used only after a probe has seen it deny what it must deny:

``bubblewrap``
    A container without network, home, ``/proc`` or a writable file, started with an empty
    environment (``--clearenv`` would leave the caller's in ``/proc/1/environ``).
``landlock``
    The same interpreter and limits without the container, where user namespaces are forbidden.
    Its `notice` says what it does not hide.

On both, the program runs in one process that has given up its rights (`sandbox_inner`): seccomp
denies sockets, new processes, signals and changes to file metadata; resource limits cap memory,
CPU time and file size (none may be written); Landlock hides files; no capability is left. Started
by root, the process becomes user ``nobody`` first, unless only root can read the interpreter: then
it is root in name alone. If neither road works, nothing is run: `SandboxError`.

The boundary protects the machine. It protects the verdict from programs that print ``passed``
or leave early, but not from one that searches the interpreter's memory for the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hyperagent.errors import SandboxError, UnknownNameError

NOBODY = 65534
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class SandboxResult:
    """What became of a program.

    Parameters
    ----------
    ok : bool
        The program, and its tests if there were any, ran to the end without an error.
    stdout, stderr : str
        What it wrote, up to the cap.
    reason : str
        Why it is not ok; empty otherwise.
    exit_code : int
        Of the process; minus the signal's number if a signal ended it.
    sandbox : str
        Name of the sandbox.
    """

    ok: bool
    stdout: str
    stderr: str
    reason: str
    exit_code: int
    sandbox: str


class SandboxNotice(UserWarning):
    """What the sandbox in use does not cover; shown once."""


class Bubblewrap:
    """Container by ``bwrap``, a program that many Linux systems ship."""

    name = "bubblewrap"
    notice = ""
    needs_landlock = False
    shell_codes = True  # It reports a signal that ended the program as 128 plus its number.

    def command(self) -> list[str]:
        """Words before the interpreter's own command line."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bwrap is not installed")
        words = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        words += ["--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        words += ["--ro-bind", "/usr", "/usr", "--ro-bind-try", *["/etc/ld.so.cache"] * 2]
        for path in ("/lib", "/lib64"):
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            else:
                words += ["--ro-bind-try", path, path]
        if not Path(sys.base_prefix).resolve().is_relative_to("/usr"):
            words += ["--ro-bind", sys.base_prefix, sys.base_prefix]
        for device in _DEVICES:
            words += ["--dev-bind", device, device]
        return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


class Landlock:
    """No container: Landlock, seccomp and resource limits alone."""

    name = "landlock"
    notice = (
        "model-written programs run without a container: files, network, processes and signals "
        "are denied, but a program can see whether a path exists and how large it is, and the "
        "host's name and kernel"
    )
    needs_landlock = True
    shell_codes = False

    def command(self) -> list[str]:
        return []


Road = Bubblewrap | Landlock
ROADS: tuple[Road, ...] = (Bubblewrap(), Landlock())
"""All sandboxes, the better one first."""


def run_python(
    code: str,
    *,
    tests: str = "",
    stdin: str = "",
    seconds: float = 6,
    memory_mb: int = 512,
    output_bytes: int = 65536,
    sandbox: str | None = None,
) -> SandboxResult:
    """Run a Python program in a sandbox and wait for its end.

    Parameters
    ----------
    code : str
        The program. Without `tests` it runs as ``__main__``.
    tests : str
        Code that runs after the program, in its namespace, and raises if the program is wrong.
        A program that leaves before they ran has failed, whatever it printed.
    stdin : str
        What the program reads as standard input.
    seconds : float
        Wall time; the CPU time is limited to one second more.
    memory_mb : int
        Address space in MiB.
    output_bytes : int
        Cap on stdout and stderr together; a program that writes more is killed.
    sandbox : str, optional
        ``"bubblewrap"`` or ``"landlock"``; by default the first that works.

    Raises
    ------
    SandboxError
        If no sandbox works on this machine, or not the one asked for.
    """
    run = _Run(_choose(sandbox), code, tests, stdin, seconds, memory_mb, output_bytes)
    return run.wait()


async def run_python_async(
    code: str,
    *,
    tests: str = "",
    stdin: str = "",
    seconds: float = 6,
    memory_mb: int = 512,
    output_bytes: int = 65536,
    sandbox: str | None = None,
) -> SandboxResult:
    """As `run_python`, without blocking the event loop; a cancelled run is killed."""
    road = await asyncio.to_thread(_choose, sandbox)
    run = _Run(road, code, tests, stdin, seconds, memory_mb, output_bytes)
    try:
        return await asyncio.to_thread(run.wait)
    finally:
        run.kill()


def available() -> tuple[str, ...]:
    """Names of the sandboxes that passed their probe, the better one first."""
    return tuple(road.name for road in ROADS if not _fault(road))


def faults() -> dict[str, str]:
    """For every sandbox why it cannot be used; empty for one that works."""
    return {road.name: _fault(road) for road in ROADS}


def _choose(name: str | None) -> Road:
    if name is not None and name not in (names := [road.name for road in ROADS]):
        raise UnknownNameError("sandbox", name, names)
    for road in ROADS:
        if name in (None, road.name) and not _fault(road):
            _give_notice(road)
            return road
    listed = "; ".join(f"{key}: {why}" for key, why in faults().items() if name in (None, key))
    raise SandboxError(f"no sandbox works here, so the program is not run ({listed})")


@cache
def _give_notice(road: Road) -> None:
    if road.notice:
        warnings.warn(road.notice, SandboxNotice, stacklevel=4)


_PROBE = """
import os, socket
seen = [name for name in os.environ if name not in ("LC_CTYPE", "PWD")]
def attempt(what, action):
    try:
        action()
    except OSError:
        return
    seen.append(what)
def fork():
    if os.fork() == 0:
        os._exit(0)
attempt("a file", lambda: open({secret!r}).read())
attempt("the environment of process 1", lambda: open("/proc/1/environ", "rb").read())
attempt("our environment", lambda: open("/proc/{parent}/environ", "rb").read())
attempt("the network", lambda: socket.create_connection(("127.0.0.1", {port}), 1))
attempt("a write", lambda: open({secret!r} + ".new", "w"))
attempt("a new process", fork)
attempt("a signal", lambda: os.kill({parent}, 0))
assert not seen, ", ".join(seen)
"""
_probing = threading.Lock()


def _fault(road: Road) -> str:
    """Why a sandbox cannot be used, or ""; found out once in a process."""
    with _probing:
        return _probe(road)


@cache
def _probe(road: Road) -> str:
    if not sys.platform.startswith("linux"):
        return f"needs Linux, this is {sys.platform}"
    with tempfile.NamedTemporaryFile() as secret, socket.create_server(("127.0.0.1", 0)) as server:
        # Readable for everyone: the sandbox must hide it, not the file's mode.
        os.chmod(secret.name, 0o644)
        code = _PROBE.format(secret=secret.name, parent=os.getpid(), port=server.getsockname()[1])
        try:
            result = _Run(road, code, "", "", 20, 512, 65536).wait()
        except SandboxError as error:
            return str(error)
    return "" if result.ok else f"its probe failed: {result.reason} {result.stderr[-300:]}".strip()


@cache
def _inner_source() -> str:
    return Path(__file__).with_name("sandbox_inner.py").read_text(encoding="utf-8")


def _readable() -> list[str]:
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
    library = [paths["stdlib"], paths["platstdlib"], f"{sys.base_prefix}/lib"]
    return [*library, *_LIBRARIES, "/etc/ld.so.cache", "/usr/share/zoneinfo", *_DEVICES]


def _interpreter() -> Path:
    """The Python that runs programs: ours, outside any virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _everyone_reads(*paths: Path) -> bool:
    """Whether a user without any right of their own can reach and read all of `paths`."""
    return all(
        path.stat().st_mode & 0o005 == 0o005
        and all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)
        for path in paths
    )


class _Run:
    """One program in one process: started by the constructor, ended by `wait` or `kill`."""

    def __init__(
        self, road: Road, code: str, tests: str, stdin: str,
        seconds: float, memory_mb: int, output_bytes: int,
    ) -> None:  # fmt: skip
        self.road, self.seconds, self.output_bytes = road, seconds, output_bytes
        self.nonce = secrets.token_hex(16).encode()
        self.control, inner = socket.socketpair()
        orders = {
            "code": code, "tests": tests, "stdin": stdin, "control": inner.fileno(),
            "seconds": int(seconds) + 1, "memory_mb": memory_mb,
            "landlock": road.needs_landlock, "readable": _readable(),
        }  # fmt: skip
        python = _interpreter()
        identity = {}
        if os.geteuid() == 0 and _everyone_reads(python, Path(orders["readable"][0])):
            identity = {"user": NOBODY, "group": NOBODY, "extra_groups": ()}
        try:
            with inner, tempfile.TemporaryFile() as file:
                file.write(json.dumps(orders).encode())
                file.seek(0)
                self.started = time.monotonic()
                self.process = subprocess.Popen(
                    [*road.command(), str(python), "-I", "-S", "-B", "-X", "utf8",
                     "-c", _inner_source()],
                    stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, cwd="/",
                    pass_fds=(inner.fileno(),), start_new_session=True, **identity,
                )  # fmt: skip
                self.control.sendall(self.nonce)
        except (OSError, SandboxError) as error:
            self.control.close()
            raise SandboxError(f"{road.name} cannot be started: {error}") from error

    def kill(self) -> None:
        """End the program now, if it still runs."""
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()

    def wait(self) -> SandboxResult:
        """Read what the program writes until it ends or passes a limit."""
        with self.control, self.process:
            out, err, said, broke = self._read()
            self.kill()
            code = self.process.wait()
            if self.road.shell_codes and code > 128:
                code = 128 - code
        if said.startswith(b"refused "):
            raise SandboxError(f"{self.road.name}: {said[8:].decode('utf-8', 'replace')}")
        ok = not broke and said == b"passed " + self.nonce
        return SandboxResult(
            ok=ok,
            stdout=out.decode("utf-8", "replace"),
            stderr=err.decode("utf-8", "replace"),
            reason="" if ok else broke or _reason(said, code, err),
            exit_code=code,
            sandbox=self.road.name,
        )

    def _read(self) -> tuple[bytes, bytes, bytes, str]:
        """Bytes of stdout, stderr and the control socket, and the limit that was passed."""
        pipes: Sequence[int] = (
            self.process.stdout.fileno(), self.process.stderr.fileno(), self.control.fileno(),
        )  # fmt: skip
        read = {pipe: bytearray() for pipe in pipes}
        deadline = self.started + self.seconds
        with selectors.DefaultSelector() as selector:
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    return *self._parts(read, pipes), f"not finished after {self.seconds:g} s"
                for key, _ in selector.select(left):
                    try:
                        chunk = os.read(key.fd, 65536)
                    except ConnectionResetError:  # It ended without reading the nonce.
                        chunk = b""
                    read[key.fd] += chunk
                    if not chunk:
                        selector.unregister(key.fd)
                if sum(map(len, read.values())) > self.output_bytes + 1024:
                    limit = f"more than {self.output_bytes} bytes of output"
                    return *self._parts(read, pipes), limit
        return *self._parts(read, pipes), ""

    def _parts(
        self, read: dict[int, bytearray], pipes: Sequence[int]
    ) -> tuple[bytes, bytes, bytes]:
        out, err, said = (bytes(read[pipe]) for pipe in pipes)
        return out[: self.output_bytes], err[: self.output_bytes], said


def _reason(said: bytes, code: int, err: bytes) -> str:
    """Why a program that ended by itself is not ok."""
    if said.startswith(b"failed "):
        return said[7:].decode("utf-8", "replace")
    if code < 0:
        known = -code in set(signal.Signals)
        return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"
    told = err.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
    return f"left before its end with exit code {code}" + (f": {told}" if told else "")
