"""``webdock ready``: what an installation as services says at its end; systemd supervises there."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from webdock.cli import instance as instances
from webdock.cli.errors import Failure
from webdock.cli.running import UNITS, engine_answers, web_answers
from webdock.cli.serve import chosen, need_root
from webdock.cli.setup import Program, clone_root
from webdock.cli.up import announce, ensure_starter_images, setup_link, web_environment

READY_TIMEOUT_S = 120.0  # the first start migrates and collects static files
PAUSE_S = 0.1


def ready_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)


def ready(options: argparse.Namespace) -> int:
    """Wait until engine and web answer, see to the starter images, print the address and the first link."""
    need_root("ready")
    instance = chosen(options)
    deadline = time.monotonic() + READY_TIMEOUT_S
    for name, unit, answers in zip(("engine", "web"), UNITS, (engine_answers, web_answers), strict=True):
        while not answers(instance):
            if time.monotonic() > deadline:
                raise Failure(f"the {name} does not answer; what it says: journalctl -u {unit} -n 50")
            time.sleep(PAUSE_S)
    ensure_starter_images(instance, Program(Path(sys.executable), clone_root(), ""))
    announce(instance.url, setup_link(instance, Path(sys.executable), web_environment(instance, os.environ)))
    return 0
