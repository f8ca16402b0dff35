"""Build the images and run them, without a daemon and without a registry: debootstrap and buildah.

``python docker/build.py WORK`` (as root) makes a base by debootstrap, fetches the packages of the
lists beside it into a wheelhouse, builds runtime, board and compress from the Dockerfile, and says
what each layer and package weighs. WORK holds everything and may be deleted afterwards.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = ("cli", "compactmtl", "docker", "models", "LICENSE", "README.md", "pyproject.toml")
"""What the images are built from; `.dockerignore` names the same."""
TARGETS = ("runtime", "board", "compress")
TOOLS = ("buildah", "debootstrap")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
NOT_IN_SLIM = (
    *("usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale"),
    *("usr/share/man", "var/cache/apt", "var/lib/apt/lists", "var/log"),
)
"""What Debian leaves out of its images called slim, and what apt leaves behind."""


@dataclass(frozen=True)
class Base:
    """A distribution that stands for a base image.

    Attributes:
        suite: Its name for debootstrap.
        mirror: Where its packages come from.
        python: Version of its Python 3.
        components: Parts of its archive.
    """

    suite: str
    mirror: str
    python: str
    components: str = "main"


DEBIAN = Base("bookworm", "http://deb.debian.org/debian", "3.11")
JAMMY = Base("jammy", "http://archive.ubuntu.com/ubuntu", "3.10", "main,universe")
"""Ubuntu 22.04, which JetPack 6 is: the same Python and numpy, without CUDA and TensorRT."""


def why_not() -> str:
    """Say why no image can be built here; empty where it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (apt-get install {' '.join(TOOLS)} uidmap)"
    return "" if os.geteuid() == 0 else "debootstrap and a chroot need root"


class Builder:
    """Images in a store of their own.

    Args:
        work: Folder for the store, the bases, the wheelhouse and the context.
    """

    def __init__(self, work: Path) -> None:
        self.work = work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)

    def buildah(self, verb: str, *arguments: str, check: bool = True) -> str:
        """Run buildah on the store; return what it says on stdout."""
        done = self._buildah(verb, *arguments)
        if check and done.returncode:
            raise RuntimeError(f"buildah {verb}: {(done.stderr + done.stdout)[-3000:]}")
        return done.stdout.strip()

    def _buildah(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        store = self.work / "store"
        place = ("--root", f"{store}/root", "--runroot", f"{store}/run")
        return subprocess.run(
            ["buildah", *place, "--storage-driver", "overlay", verb, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def base(self, base: Base, keyring: Path | None = None) -> str:
        """Make an image of a bare distribution, small as those called slim; return its name."""
        name = f"localhost/{base.suite}:slim"
        if self._buildah("inspect", "--type", "image", name).returncode == 0:
            return name  # made again, it would be another to the layers above it
        root = self.work / base.suite
        if not root.is_dir():
            part = self.work / f"{base.suite}.part"
            _remove_tree(part)  # one that was interrupted is no base
            options = [f"--components={base.components}", "--variant=minbase"]
            options += [f"--keyring={keyring}"] if keyring else []
            _call("debootstrap", *options, base.suite, str(part), base.mirror)
            part.rename(root)
        for folder in NOT_IN_SLIM:
            for path in (root / folder).glob("*"):
                path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text("path-exclude /usr/share/doc/*\n")
        archive = self.work / f"{base.suite}.tar"
        _call("tar", "-C", str(root), "-cf", str(archive), ".")
        container = self.buildah("from", "scratch")
        self.buildah("add", "-q", container, str(archive), "/")
        self.buildah("commit", "-q", "--rm", container, name)
        archive.unlink()
        return name

    def context(self, lists: Sequence[str], python: str) -> Path:
        """Copy what the images are built from, and fetch the packages of ``docker/<list>.txt``."""
        context = self.work / "context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        for name in CONTEXT:
            source, copy = ROOT / name, context / name
            if source.is_file():
                shutil.copy(source, copy)
            else:
                ignore = shutil.ignore_patterns("__pycache__", "wheelhouse")
                shutil.copytree(source, copy, symlinks=True, ignore=ignore)
        wheelhouse = self.work / "wheelhouse"
        machine = sysconfig.get_platform().rpartition("-")[2]
        for name in lists:
            options = (
                ["--extra-index-url", TORCH_INDEX, "--retries", "1"] if name == "torch" else []
            )
            options += [f"--platform={platform}_{machine}" for platform in PLATFORMS]
            options += [f"--python-version={python}", "--only-binary=:all:", "--no-deps", "--quiet"]
            options += ["--requirement", str(ROOT / "docker" / f"{name}.txt")]
            _call(sys.executable, "-m", "pip", "download", f"--dest={wheelhouse}", *options)
        (context / "docker" / "wheelhouse").mkdir()
        for wheel in wheelhouse.iterdir():
            os.link(wheel, context / "docker" / "wheelhouse" / wheel.name)
        return context

    def build(self, target: str, base: str, context: Path, **arguments: str) -> str:
        """Build one target of the Dockerfile; return the image's name."""
        name = f"localhost/compactmtl-{target}:{base.rpartition('/')[2].partition(':')[0]}"
        given = {"BASE": base, "PIP_NO_INDEX": "1", **arguments}
        layers = "false" if arguments else "true"  # buildah 1.28 caches a LABEL without its ARG
        self.buildah(
            "build",
            *("--isolation", "chroot", "--format", "docker", "--pull-never", f"--layers={layers}"),
            *(f"--build-arg={key}={value}" for key, value in given.items()),
            *("--target", target, "--file", str(context / "docker" / "Dockerfile")),
            *("--tag", name, str(context)),
        )
        return name

    def remove(self) -> None:
        """Delete the store and all else in the work folder."""
        self.buildah("rm", "--all", check=False)
        self.buildah("rmi", "--all", "--force", check=False)
        for part in self.work.glob("*.part"):
            _remove_tree(part)
        shutil.rmtree(self.work)

    def config(self, image: str) -> dict[str, Any]:
        """Return the image's configuration: user, entrypoint, labels, health check."""
        document = json.loads(self.buildah("inspect", "--type", "image", image))
        return dict(document["Docker"]["config"])

    def layers(self, image: str) -> list[dict[str, Any]]:
        """Return what made each layer and its size in bytes, from the base upwards."""
        document = json.loads(self.buildah("inspect", "--type", "image", image))["Docker"]
        stored = json.loads((self.work / "store/root/overlay-layers/layers.json").read_text())
        sizes = {each["diff-digest"]: each["diff-size"] for each in stored if "diff-size" in each}
        made = [step for step in document["history"] if not step.get("empty_layer")]
        digests = document["rootfs"]["diff_ids"]
        return [
            {"by": _short(step.get("created_by", "")), "size_bytes": sizes[digest]}
            for step, digest in zip(made, digests, strict=True)
        ]

    def run(
        self,
        image: str,
        *arguments: str,
        mounts: Mapping[str, Path] | None = None,
        entrypoint: Sequence[str] | None = None,
        user: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run an image as `docker run IMAGE ARGUMENTS` would; the container's root must stay as is.

        Args:
            image: Its name.
            arguments: What follows the image's name.
            mounts: Path in the container to the file or folder here that it shows.
            entrypoint: In place of the image's own, which a chroot does not apply by itself.
            user: In place of the image's own.

        Raises:
            RuntimeError: Something was written into the container's root, outside /tmp.
        """
        container = self.buildah("from", "--pull-never", image)
        try:
            top = Path(self.buildah("mount", container)).parent / "diff"
            before = _files(top)
            options = [f"--volume={here}:{there}" for there, here in (mounts or {}).items()]
            options += [f"--user={user}"] if user else []
            config = self.config(image)
            for volume in config["Volumes"]:  # buildah 1.28 would mount its own over a mount there
                self.buildah("config", f"--volume={volume}-", container)
            program = config["Entrypoint"] if entrypoint is None else entrypoint
            command = ("--isolation", "chroot", *options, container, "--", *program, *arguments)
            done = self._buildah("run", *command)
            points = {Path(there).relative_to("/") for there in mounts or {}}
            written = _files(top) - before - points
            if written:
                raise RuntimeError(f"{image} wrote into its root: {sorted(map(str, written))[:5]}")
            return done
        finally:
            self.buildah("rm", container)


def packages(builder: Builder, image: str) -> dict[str, int]:
    """Return the bytes of each Python package in an image, the largest first."""
    code = (
        "import json; from importlib.metadata import distributions; "
        "print(json.dumps({d.name: sum(f.locate().stat().st_size for f in d.files or () "
        "if f.locate().is_file()) for d in distributions()}))"
    )
    sizes: Mapping[str, int] = json.loads(
        builder.run(image, "-c", code, entrypoint=["python3"]).stdout
    )
    return {name: size for name, size in sorted(sizes.items(), key=lambda each: -each[1]) if size}


def _files(top: Path) -> set[Path]:
    """Return the files of a container's own layer, but for what the program may write to."""
    return {
        path.relative_to(top)
        for path in top.rglob("*")
        if not path.is_dir() and path.relative_to(top).parts[0] != "tmp"
    }


def _short(made_by: str) -> str:
    """Return the instruction that made a layer, without the shell around it."""
    text = re.sub(r"#\(nop\) |dir:[0-9a-f]{64} in |/bin/sh -c |/bin/sh$", "", made_by)
    if installed := re.search(r"apt-get install [-\w ]*?(?= *&&)", text):
        text = re.sub(r" -[-\w]+", "", installed[0])
    return " ".join(text.split()) or "base"


def _remove_tree(root: Path) -> None:
    """Delete what debootstrap left; where it was killed, the machine's /proc is mounted in it."""
    for mount in (root / "proc", root / "sys"):
        if mount.is_mount():
            _call("umount", str(mount))
    if root.exists():
        shutil.rmtree(root)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout)[-2000:]}")


def measure(builder: Builder, image: str) -> dict[str, Any]:
    """Return what an image weighs, by layer and by Python package."""
    layers = builder.layers(image)
    return {
        "size_bytes": sum(layer["size_bytes"] for layer in layers),
        "layers": layers,
        "python_packages_bytes": packages(builder, image),
    }


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, metavar="WORK", help="Folder for all of it.")
    parser.add_argument("--target", choices=TARGETS, nargs="+", default=TARGETS)
    parser.add_argument("--record", type=Path, metavar="JSON", help="Write the sizes there.")
    asked = parser.parse_args()
    if reason := why_not():
        sys.exit(f"error: cannot build images here: {reason}")
    builder = Builder(asked.work)
    lists = ["build", "runtime", *(["compress", "torch"] if "compress" in asked.target else [])]
    base, context = builder.base(DEBIAN), builder.context(lists, DEBIAN.python)
    images = {
        target: measure(builder, builder.build(target, base, context)) for target in asked.target
    }
    for target, sizes in images.items():
        print(f"{target}: {sizes['size_bytes'] / 1e6:.1f} MB")
        for layer in sizes["layers"]:
            print(f"  {layer['size_bytes'] / 1e6:8.1f} MB  {layer['by']}")
        for name, size in list(sizes["python_packages_bytes"].items())[:12]:
            print(f"    {size / 1e6:8.1f} MB  {name}")
    if asked.record:
        record = {
            "built_by": builder.buildah("--version"),
            "machine": platform.machine(),
            "base": f"{DEBIAN.suite}, minbase, without what Debian leaves out of slim images",
            "images": images,
        }
        asked.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
