"""The verbs that look at this machine or are one of its two processes: check, status, engine, web.

The only place where a web room's package may reach for the engine: ``engine`` starts ``runtime.main``.
"""

from __future__ import annotations

import argparse
import os
import sys

from webdock import preflight
from webdock.cli import instance as instances
from webdock.cli.errors import Failure
from webdock.cli.http import Client
from webdock.cli.instance import Instance, ListenError
from webdock.cli.running import web_answers


def chosen(options: argparse.Namespace) -> Instance:
    try:
        return instances.from_options(options, os.environ)
    except ListenError as error:
        raise Failure(str(error)) from None


def say(text: str) -> None:
    sys.stderr.write(f"→ {text}\n")
    sys.stderr.flush()


def need_root(verb: str) -> None:
    if os.geteuid() != 0:
        raise Failure(f"`webdock {verb}` needs root: put sudo before it")


def check_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument(
        "--repair", action="store_true", help="load modules and mount cgroups where that helps (root)"
    )
    parser.add_argument("--quiet", action="store_true", help="print only what is not well")
    parser.add_argument(
        "--images",
        action="store_true",
        help="have the engine read every byte of its images instead; with --repair it mends what it can",
    )


def check(options: argparse.Namespace) -> int:
    """Print the list; 1 when something is missing that the engine cannot do without."""
    instance = chosen(options)
    if options.images:
        return check_images(instance, repair=options.repair, quiet=options.quiet)
    if options.repair:
        need_root("check --repair")
        from webdock.cli.setup import repair_machine

        for done in repair_machine():
            say(done)
    checks = preflight.examine(instance)
    if web_answers(instance):  # the address is taken by our own pages
        checks = [one for one in checks if one.name != "address"]
    text = preflight.report(checks, quiet=options.quiet)
    if text:
        print(text)
    return 1 if any(one.level == preflight.FAILURE for one in checks) else 0


def check_images(instance: Instance, *, repair: bool, quiet: bool) -> int:
    """Print what is wrong with the images; 1 when something is left that could not be mended."""
    left = 0
    client = Client(f"unix://{instance.engine_socket}")
    for message in client.stream("POST", "/images/verify", {"repair": repair}):
        finding = message.get("finding")
        if "error" in message:
            raise Failure(message["error"])
        if finding:
            left += not finding["mended"]
            print(f"{finding['image']}: {finding['what']}{' – mended' if finding['mended'] else ''}")
        elif "verified" in message and not quiet:
            print(f"{message['verified']} images verified, {message['findings']} findings")
    return 1 if left else 0


def status_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)


def status(options: argparse.Namespace) -> int:
    """Print one line each for engine and web; 0 when both answer."""
    instance = chosen(options)
    owner = instance.owner() or {}
    try:
        version = Client(f"unix://{instance.engine_socket}").get("/version")
        engine = f"runs, {version.get('Version')} (API {version.get('ApiVersion')}), {instance.engine_socket}"
        engine_up = True
    except Failure as error:
        engine, engine_up = f"does not answer: {error}", False
    web_up = web_answers(instance)
    print(f"engine: {engine}")
    print(f"web:    {'runs, ' + instance.url if web_up else 'does not answer at ' + instance.url}")
    if engine_up and web_up and owner.get("pid"):
        print(f"up:     process {owner['pid']}, logs in {instance.log_home}")
    return 0 if engine_up and web_up else 1


def engine_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)
    parser.add_argument("--runtime", help="OCI runtime, crun or runc (crun)")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="WEBDOCK_LOG_LEVEL (info)"
    )
    parser.add_argument("--check-config", action="store_true", help="read the configuration, and no more")


def engine(options: argparse.Namespace) -> int:
    """Run the engine in this process."""
    need_root("engine")
    os.environ.update(chosen(options).environ({}))
    from runtime.main import main

    more = [f"--runtime={options.runtime}"] if options.runtime else []
    if options.log_level:
        more.append(f"--log-level={options.log_level}")
    if options.check_config:
        more.append("--check-config")
    return int(main(more))


def web_options(parser: argparse.ArgumentParser) -> None:
    instances.add_options(parser)


def web(options: argparse.Namespace) -> int:
    """Run the web side in this process."""
    instance = chosen(options)
    os.environ.update(instance.environ({}))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webdock.settings")
    from webdock.environ import BadVariable
    from webdock.web import run

    try:
        return int(run(instance.listen) or 0)
    except BadVariable as error:
        raise Failure(str(error)) from None
