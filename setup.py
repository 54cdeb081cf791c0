"""What pyproject.toml cannot say.

The requirements stand in requirements.txt with their reasons. Templates, static files and translations lie
beside the packages in a clone, and inside ``webdock`` in an installation, where a name like "static" would be
everybody's.
"""

from pathlib import Path

from setuptools import find_packages, setup

DATA = ("templates", "static", "locale")


def requirements() -> list[str]:
    lines = (Path(__file__).parent / "requirements.txt").read_text().splitlines()
    wanted = (line.partition("#")[0].strip() for line in lines)
    return [line for line in wanted if line and not line.startswith("-")]


setup(
    install_requires=requirements(),
    packages=[
        *find_packages(include=["webdock*", "containers_app*", "images_app*", "runtime*"]),
        *(f"webdock.{name}" for name in DATA),
    ],
    package_dir={f"webdock.{name}": name for name in DATA},
    package_data={f"webdock.{name}": ["**/*"] for name in DATA},
)
