"""The command line: what it prints, and the codes it ends with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from syncret import __version__, app
from syncret.__main__ import main
from syncret.errors import KubeForbidden, LeadershipLost, SetupError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"syncret {__version__}\n"


def test_a_reader_that_goes_is_no_defect() -> None:
    """As with ``| head -1``: no traceback, and the code of a program that SIGPIPE ended."""
    examples = Path(__file__).parents[2] / "examples"
    command = [sys.executable, "-m", "syncret", "convert", str(examples)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        told = child.stderr.read()
        assert child.wait(60) == 141
    assert b"Traceback" not in told
    assert b"BrokenPipe" not in told


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: syncret")
    assert ("--kubeconfig" in out) == ("run" in arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["walk"], "walk"),
        (["run", "--unknown"], "--unknown"),
        (["run", "--workers", "0"], "--workers"),
    ],
)
def test_bad_usage_is_code_2_with_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err


def test_a_bad_variable_is_code_2_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNCRET_WORKERS", "many")
    with pytest.raises(SystemExit) as caught:
        main(["run"])
    assert caught.value.code == 2
    assert 'SYNCRET_WORKERS: "many" is not a whole number' in capsys.readouterr().err


def test_a_start_that_fails_is_code_1_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logging_restored: None
) -> None:
    nowhere = str(tmp_path / "kubeconfig")
    assert main(["run", "--log-format", "json", "--kubeconfig", nowhere]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["reason"]) == ("critical", "SetupError")
    assert nowhere in told["message"]
    assert "exception" not in told
    assert captured.out == ""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (SetupError("Set KUBECONFIG."), 1),
        (KubeForbidden("Grant the verb."), 1),
        (LeadershipLost("Another replica leads."), 1),
        (KeyboardInterrupt(), 130),
        (None, 0),
    ],
)
def test_the_code_tells_how_it_ended(
    failure: BaseException | None,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logging_restored: None,
) -> None:
    async def run(_settings: object) -> None:
        if failure is not None:
            raise failure

    monkeypatch.setattr(app, "run", run)
    assert main(["run", "--log-format", "json"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_is_not_taken_for_a_failure_that_was_told(
    monkeypatch: pytest.MonkeyPatch, logging_restored: None
) -> None:
    async def run(_settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app, "run", run)
    with pytest.raises(ZeroDivisionError):
        main(["run"])


def test_what_needs_no_cluster_loads_no_client() -> None:
    """Help and version come at once, and the module runs as a program."""
    code = (
        "import runpy, sys; sys.argv = ['syncret', 'version']\n"
        "try: runpy.run_module('syncret', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(sorted({'kopf', 'aiohttp', 'boto3', 'kubernetes'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"syncret {__version__}\n[]\n"


@pytest.mark.parametrize(
    ("outcome", "code", "told"),
    [
        ("pass", 0, ""),
        ("raise SetupError('It cannot go on.')", 1, "It cannot go on."),
        ("raise ZeroDivisionError", 1, "Ended by an unexpected error"),
    ],
    ids=["stopped", "told", "defect"],
)
def test_the_process_ends_although_a_thread_does_not(outcome: str, code: int, told: str) -> None:
    """A call of an SDK that never returns; Python would wait for it when it exits."""
    program = (
        "import sys, threading\n"
        "from syncret import app, __main__\n"
        "from syncret.errors import SetupError\n"
        "async def run(_):\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
        "    print('the last line', end='')\n"
        f"    {outcome}\n"
        "app.run = run\n"
        "sys.argv = ['syncret', 'run']\n"
        "__main__.program()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (code, "the last line")
    assert told in done.stderr
