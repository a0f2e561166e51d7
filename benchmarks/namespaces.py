"""Network namespaces, and processes within them, that are gone when this process is.

Held here are namespaces without a name: the kernel ends one with the last file or process that holds it, so there is
nothing to collide with and nothing to sweep, however a run ends. Daemons stand in a process namespace whose first
process is told by the kernel to end with us; the kernel then ends all others in it. Refused are names below /run/netns,
and daemons that go into the background.

To enter a namespace moves the calling thread alone; other threads stay where they are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_NET, _PID = "/proc/thread-self/ns/net", "/proc/thread-self/ns/pid"
_IPV6 = Path("/proc/sys/net/ipv6/conf")
_CPU_CLOCK = 2  # a process's clock has the ID ~pid << 3 | 2: clock_getcpuclockid(3)


@contextmanager
def _returning(link: str) -> Iterator[None]:
    home = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.setns(home)
        os.close(home)


class Namespace:
    """A network namespace of our own, with nothing in it but `lo`, and without IPv6: its chatter would be counted."""

    def __init__(self) -> None:
        with _returning(_NET):
            try:
                os.unshare(os.CLONE_NEWNET)
            except PermissionError as error:
                raise PermissionError("no network namespace may be made: run this as root") from error
            self._file = os.open(_NET, os.O_RDONLY | os.O_CLOEXEC)
            for setting in _IPV6.glob("*/disable_ipv6"):
                setting.write_text("1", "ascii")

    @property
    def path(self) -> str:
        """What the `ip` command takes for a namespace's name."""
        return f"/proc/{os.getpid()}/fd/{self._file}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have what this thread opens and starts belong to the namespace."""
        with _returning(_NET):
            os.setns(self._file, os.CLONE_NEWNET)
            yield

    def ip(self, *commands: str) -> None:
        """Carry out commands as the `ip` program takes them; RuntimeError says which of them it refused."""
        with self.inside():
            done = subprocess.run(
                ["ip", "-batch", "-"],
                input="\n".join(commands),
                text=True,
                capture_output=True,
                timeout=30,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"`ip` refused a command of {commands}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let go; the kernel takes it down when its last process has ended."""
        os.close(self._file)


class Daemons:
    """Processes that end with this one, even if it is killed."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        with _returning(_PID):
            os.unshare(os.CLONE_NEWPID)
            self._first = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sleep", "infinity"], start_new_session=True
            )
        self._file = os.open(f"/proc/{self._first.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def pids(self) -> list[int]:
        """Process IDs as this process sees them, in the order of starting."""
        return [process.pid for process in self._started]

    def start(self, command: Sequence[str], namespace: Namespace, log: Path) -> None:
        """Start a process that stays in the foreground; what it prints goes to `log`."""
        with log.open("ab") as out, namespace.inside(), _returning(_PID):
            os.setns(self._file, os.CLONE_NEWPID)
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._started.append(started)

    def check(self) -> None:
        """Raise RuntimeError if one has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise RuntimeError(f"a daemon ended with {process.returncode}: {process.args!r}")

    def cpu_s(self) -> float:
        """Return the seconds that all have computed since they were started."""
        return sum(time.clock_gettime(~pid << 3 | _CPU_CLOCK) for pid in self.pids)

    def stop(self, patience_s: float = 3.0) -> None:
        """Ask all to end, then end those that have not."""
        try:
            for process in self._started:
                process.terminate()
            deadline = time.monotonic() + patience_s
            for process in self._started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            self._first.kill()
        for process in (*self._started, self._first):
            process.wait(10)
        os.close(self._file)


def sent_bytes(pid: int) -> int:
    """Return the bytes that have left by the links of a process's namespace; `lo` is none of them."""
    lines = Path(f"/proc/{pid}/net/dev").read_text("ascii").splitlines()
    return sum(int(line.split()[9]) for line in lines if line.lstrip().startswith("to"))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt at once, even where an event loop would put them off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
