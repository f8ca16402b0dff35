"""Python environments of their own for converters whose packages would not live with ours.

They lie in the user's cache folder, one per set of pinned versions, and are made only when the
user asks. A folder without its marker is an interrupted installation and is thrown away.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from compactmtl.errors import DiskFullError, ExportError, MissingExtraError
from compactmtl.files import make_folder, write_json

MARKER = "complete.json"
"""Written last."""
TORCH = "torch==2.14.1"
"""The newest that the converters take; it opens programs that torch 2.15 saved."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One environment.

    Attributes:
        target: The target that it serves.
        packages: What pip installs, every version pinned.
        gigabytes: About what it takes on the disk, with the default build of torch.
        minutes: About what the installation takes, over a fast line.
    """

    target: str
    packages: tuple[str, ...]
    gigabytes: float
    minutes: int

    @property
    def folder(self) -> Path:
        """Where it lies: one folder per set of versions and version of Python."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        versions = "-".join(package.replace("==", "-") for package in self.packages)
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        return cache / "compactmtl" / "environments" / f"{self.target}-{versions}-{python}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        place = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
        return self.folder.joinpath(*place)

    @property
    def is_complete(self) -> bool:
        """Whether it was installed to the end."""
        return (self.folder / MARKER).is_file()

    def describe(self) -> str:
        """Say how to get it and what that takes."""
        return (
            f"compactmtl export --target {self.target} --install (about {self.gigabytes:g} GB, "
            f"{self.minutes} minutes)"
        )

    def require(self) -> None:
        """Check that it is there.

        Raises:
            MissingExtraError: It is not; the hint names the command that makes it.
        """
        if not self.is_complete:
            raise MissingExtraError(
                f"target `{self.target}` needs its converter, in an environment of its own, which "
                "is not installed",
                hint=self.describe(),
            )

    def install(self) -> bool:
        """Make it, unless it is there. On any failure, Ctrl-C included, nothing is left.

        Returns:
            Whether there was anything to do.

        Raises:
            DiskFullError: There is less space than it takes.
            ExportError: pip failed; the last line of what it said is given.
        """
        if self.is_complete:
            return False
        if self.folder.exists():  # an installation that was killed
            shutil.rmtree(self.folder)
        make_folder(self.folder.parent)
        free = shutil.disk_usage(self.folder.parent).free / 1e9
        if free < self.gigabytes:
            raise DiskFullError(
                f"`{self.folder.parent}` has {free:.1f} GB free, the environment of target "
                f"`{self.target}` takes about {self.gigabytes:g} GB",
                hint="free some space, or set XDG_CACHE_HOME to another disk",
            )
        try:
            _run([sys.executable, "-m", "venv", str(self.folder)], "make an environment")
            pip = [str(self.python), "-m", "pip", "install", "--quiet"]
            _run([*pip, "--disable-pip-version-check", *self.packages], "install the converter")
            write_json(self.folder / MARKER, {"packages": self.packages})
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return True


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ExportError(
            f"could not {purpose}: {lines[-1].strip() if lines else 'no reason given'}",
            hint="check the network and pip's own settings, then try again",
        )
