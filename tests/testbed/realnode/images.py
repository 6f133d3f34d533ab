"""The images of the tier with real pods, built with buildah and without Docker or a registry.

The Dockerfile's base is a Debian tree made by debootstrap, which stands for the Python image that
the Dockerfile names by default: both have a Python on glibc. It is kept in the user's cache; so are
the layers of the build. The build reaches package indexes as this machine does: its settings and
authorities go into the build as secrets of the Dockerfile, which the image does not keep.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from testbed.binaries import cache_root
from testbed.progress import Progress
from testbed.realnode.record import PLACE
from testbed.realnode.requirements import busybox

SUITE: Final = "bookworm"
_PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
_BASE: Final = f"localhost/syncret-base:{SUITE}"
#: The names under which a node finds the images; no registry is ever asked for them.
PAUSE: Final = "docker.io/local/busybox:e2e"
BUSYBOX: Final = PAUSE
OPERATOR: Final = "docker.io/local/syncret:e2e"
_CONTEXT: Final = Path(__file__).parent / "busybox"
#: In the order in which the usual clients look at them.
_AUTHORITIES: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class ImageError(Exception):
    """An image could not be built; the text has the command and the end of what it said."""


@dataclass(frozen=True, slots=True)
class Images:
    """Builds images as OCI archives in ``directory``."""

    directory: Path
    storage: Path = field(default_factory=lambda: cache_root() / "images")

    def busybox(self, *, progress: Progress) -> Path:
        """The image :data:`BUSYBOX`, which the pause container uses as well. Raises ImageError."""
        archive = self.directory / "busybox.tar"
        if archive.exists():
            return archive
        program = busybox()
        if program is None:
            raise ImageError("There is no static busybox: apt-get install busybox-static.")
        with (
            progress.step("building the busybox image", estimate=3),
            tempfile.TemporaryDirectory() as context,
        ):
            shutil.copy(_CONTEXT / "Containerfile", context)
            commands = Path(context) / "bin"
            commands.mkdir()
            shutil.copy(program, commands / "busybox")
            for name in self._run([str(program), "--list"]).split():
                if name != "busybox":
                    (commands / name).symlink_to("busybox")
            file = str(Path(context) / "Containerfile")
            former = self._ids(BUSYBOX)
            self._buildah("bud", "--isolation", "chroot", "-f", file, "-t", BUSYBOX, context)
            self._remove(former - self._ids(BUSYBOX))
            return self._archive(BUSYBOX, archive)

    def operator(self, repository: Path, *, progress: Progress) -> Path:
        """The image :data:`OPERATOR` from the project's Dockerfile. Raises ImageError."""
        archive = self.directory / "operator.tar"
        self._ensure_base(progress)
        with (
            progress.step(
                "building the operator's image from the Dockerfile",
                done=lambda: "the operator's image is built",
                estimate=60,
            ),
            tempfile.TemporaryDirectory() as secrets,
        ):
            arguments = ["bud", "--isolation", "chroot", "--layers", "--pull-never"]
            arguments += ["--build-arg", f"BASE={_BASE}", "-t", OPERATOR]
            for name, file in build_secrets(Path(secrets)).items():
                arguments += ["--secret", f"id={name},src={file}"]
            # Where something was built anew, what earlier builds left is of no use to the next one.
            former = self._ids(OPERATOR)
            cached = self._ids("--filter", "dangling=true")
            self._buildah(*arguments, str(repository))
            if not self._ids(OPERATOR) <= former:
                self._remove(former | cached)
            return self._archive(OPERATOR, archive)

    def _ensure_base(self, progress: Progress) -> None:
        """The base image, from the cache or made anew."""
        if self._done("inspect", "--type", "image", _BASE):
            return
        with progress.step(
            f"making the base image: a Debian {SUITE} tree by debootstrap, once", estimate=60
        ):
            container = self._buildah("from", "scratch").strip()
            try:
                tree = self._buildah("mount", container).strip()
                self._run(
                    [
                        *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
                        *(SUITE, tree, *_mirror()),
                    ]
                )
                for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
                    shutil.rmtree(Path(tree) / leftover, ignore_errors=True)
                self._buildah("umount", container)
                self._buildah("commit", "--quiet", container, _BASE)
            finally:
                self._buildah("rm", container)

    def _archive(self, image: str, archive: Path) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)  # buildah adds to an archive that exists
        self._buildah("push", "--quiet", image, f"oci-archive:{archive}:{image}")
        return archive

    def _ids(self, *arguments: str) -> set[str]:
        """The images that are there, those that are only layers of another left out."""
        try:
            return set(self._buildah("images", "--quiet", "--no-trunc", *arguments).split())
        except ImageError:  # buildah's way to say that a name is not known
            return set()

    def _remove(self, images: set[str]) -> None:
        """Removes images; one that another is built on stays."""
        for image in images:
            self._done("rmi", image)

    def _done(self, *arguments: str) -> bool:
        try:
            self._buildah(*arguments)
        except ImageError:
            return False
        return True

    def _buildah(self, *arguments: str) -> str:
        # A storage of our own beside the user's; its run-time half is gone after a reboot.
        root, running = self.storage / "buildah", PLACE / "buildah"
        return self._run(["buildah", f"--root={root}", f"--runroot={running}", *arguments])

    @staticmethod
    def _run(command: Sequence[str]) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise ImageError(
                f"{' '.join(command)} failed with exit code {done.returncode}:\n{tail}"
            )
        return done.stdout


def build_secrets(folder: Path, env: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """The files that the Dockerfile takes as secrets, by id: how this machine reaches an index."""
    secrets = {}
    authorities = [Path(env[name]) for name in _AUTHORITIES if env.get(name)]
    for candidate in (*authorities, _SYSTEM_AUTHORITIES):
        if candidate.is_file():
            secrets["ca.crt"] = candidate
            break
    index = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or _pip_setting("index-url")
    if index:
        pip, uv = folder / "pip.conf", folder / "uv.toml"
        for file, text in (
            (pip, f"[global]\nindex-url = {index}\n"),
            (uv, f'[[index]]\nurl = "{index}"\ndefault = true\n'),
        ):
            file.touch(mode=0o600)  # the URL may hold a password
            file.write_text(text)
        secrets |= {"pip.conf": pip, "uv.toml": uv}
    return secrets


def _pip_setting(name: str) -> str:
    """What pip is told by its files and its environment, in its own order."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for scope in (":env:", "install", "global"):
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key == f"{scope}.{name}":
                return value.strip("'\"")
    return ""


def _mirror() -> tuple[str, ...]:
    """The Debian mirror that apt of this machine uses; none: debootstrap knows the general one."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        site, _, codename = line.partition(" ")
        if codename == SUITE and urlsplit(site).scheme in ("http", "https"):
            return (site,)
    return ()
