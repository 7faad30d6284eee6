#!/usr/bin/env python3
"""Measures Feast and Hamilton on data of the same kind as our benchmarks; `online` has Feast's
server and ours answer in turn. Prints one line of JSON
for each result; progress goes to standard error. Installs into bench/peers/.venv."""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

from ports import free_port, listens

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
REQUIREMENTS = ["requirements.txt", "constraints.txt"]
# Script, rows and repeats unless told. Feast holds all rows in memory as Python objects: 16 GiB for
# a million.
PEERS = {
    "feast": ("feast_materialize.py", 100_000, 3),
    "hamilton": ("hamilton_features.py", 10_000_000, 7),
    "online": ("feast_online.py", 10_000, 7),
}
WITHOUT_REDIS = ["hamilton"]


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python = installed_python()
    if options.json:
        options.json.write_text("")
    for peer in PEERS if options.peer == "all" else [options.peer]:
        script, rows, repeats = PEERS[peer]
        rows, repeats = options.rows or rows, options.repeats or repeats
        with tempfile.TemporaryDirectory(prefix="onceflow-peers-") as folder:
            flags = [f"--folder={folder}", f"--rows={rows}", f"--repeats={repeats}"]
            needs_redis = peer not in WITHOUT_REDIS
            with redis_server(folder) if needs_redis else contextlib.nullcontext() as port:
                if port:
                    flags.append(f"--redis-port={port}")
                if peer == "online":
                    flags.append(f"--port={free_port()}")
                with lines_of([python, str(HERE / script), *flags]) as lines:
                    for line in lines:
                        write(line, options.json)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", nargs="?", choices=["all", *PEERS], default="all")
    parser.add_argument(
        "--rows",
        type=positive,
        help="default 100000 for Feast, which needs 16 GiB of memory for 1000000; "
        "10000000 for Hamilton, 10000 for online",
    )
    parser.add_argument(
        "--repeats",
        type=positive,
        help="how often figure and limit are measured in turn; default 3 for Feast, 7 for the others",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines here, too")
    return parser.parse_args()


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def write(line: str, path: Path | None) -> None:
    print(line, end="", flush=True)
    if path:
        with path.open("a") as file:
            file.write(line)


def installed_python() -> str:
    """The interpreter of the virtual environment, which is made anew if the pins have changed."""
    python = VENV / "bin" / "python"
    stamp = VENV / "installed.txt"
    pins = sys.version + "".join((HERE / name).read_text() for name in REQUIREMENTS)
    if not stamp.exists() or stamp.read_text() != pins:
        if sys.version_info < (3, 11):
            sys.exit("the pinned versions need Python 3.11 or newer")
        print(f"installing into {VENV}", file=sys.stderr, flush=True)
        venv.create(VENV, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        pip = [str(python), *install, str(HERE / REQUIREMENTS[0])]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        stamp.write_text(pins)
    return str(python)


@contextlib.contextmanager
def redis_server(folder: str) -> Iterator[int]:
    """A Redis of its own on a free port, without persistence."""
    for name in ["redis-server", "redis-benchmark"]:
        if not shutil.which(name):
            sys.exit(f"{name} is not on PATH")
    port = free_port()
    flags = f"--port {port} --bind 127.0.0.1 --appendonly no --dir {folder} --logfile redis.log"
    server = subprocess.Popen(["redis-server", *flags.split(), "--save", ""])
    try:
        while not listens(port):
            if server.poll() is not None:
                sys.exit((Path(folder) / "redis.log").read_text())
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def lines_of(command: list[str]) -> Iterator[Iterable[str]]:
    """What a script prints, line by line; the script ends when we do."""
    script = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield script.stdout
        if script.wait() != 0:
            sys.exit(f"{command[1]} ended with {script.returncode}")
    finally:
        script.terminate()
        script.wait()


if __name__ == "__main__":
    main()
