"""Command line of Loupe: ``loupe`` when it is installed, ``manage.py`` in a checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

# The commands that an operator needs, by purpose. `help` lists all of them.
OVERVIEW = {
    "Install and update": {
        "make_settings": "print a settings file for production, with new keys",
        "setup": "prepare the database and the static files, and make the first log-in",
        "check": "compare the settings with what is known to go wrong (--deploy)",
        "migrate": "bring the database up to date",
        "collectstatic": "copy the static files to where the web server reads them",
    },
    "Run": {
        "web": "run the web server",
        "qworker": "run the worker",
        "createsuperuser": "make an administrator, if no operator can log in any more",
        "create_api_key": "make a key for a program",
    },
    "Images and the record": {
        "import_images": "import files or folders",
        "export_decisions": "write the record to a file",
        "backup": "copy the database and all files into a folder, while Loupe runs",
        "restore": "fill an empty installation from such a folder",
        "verify_decisions": "read the whole record and report altered rows",
        "verify_assets": "read all image files and report missing and altered ones",
    },
}
HELP = {(), ("help",), ("-h",), ("--help",)}


def describe_commands(program: str) -> str:
    """Return the overview that ``loupe`` alone prints."""
    width = max(len(name) for names in OVERVIEW.values() for name in names)
    lines = [f"Loupe {find_version()}: a moderation desk for AI-generated images.", ""]
    lines.append(f"Usage: {program} COMMAND [OPTIONS]")
    for title, names in OVERVIEW.items():
        lines += ["", f"{title}:", *(f"  {name:{width}}  {text}" for name, text in names.items())]
    lines += ["", f"{program} help --commands  lists the names of all commands."]
    lines += [f"{program} COMMAND --help    describes one."]
    return "\n".join(lines) + "\n"


def find_version() -> str:
    try:
        return version("loupe-desk")
    except PackageNotFoundError:
        return "(a checkout)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exits with a sentence if Loupe cannot start."""
    argv = list(sys.argv if arguments is None else arguments)
    if sys.platform != "linux":
        sys.exit(
            f"Loupe cannot start: it runs on Linux only, and this is {sys.platform}. Use a Linux"
            " machine or container."
        )
    program = os.path.basename(argv[0])
    if tuple(argv[1:]) in HELP:
        sys.stdout.write(describe_commands("loupe" if program == "__main__.py" else program))
        return
    if argv[1:] in (["--version"], ["version"]):
        sys.stdout.write(f"Loupe {find_version()}\n")
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        # Asked for here, because Django's own command line would go on without settings and fail
        # over something else. Reading one reads them all.
        _ = settings.configured or settings.DEBUG
    except (ImproperlyConfigured, OSError) as error:
        sys.exit(f"Loupe cannot start: {error}")
    execute_from_command_line(argv)
