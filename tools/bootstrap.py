"""Make `.venv` with everything the project needs, from hash-locked files; a second run finds it done and returns.

Run by the Makefile with whatever python3 the machine has, so it stays parseable by old ones and uses only the
standard library. Every failure is one line that says how to mend it.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import Dict, List, Optional, Tuple

Version = Tuple[int, int]

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "setup-done")
# Present while packages are being installed: an interrupted set-up is known by it and starts afresh.
UNFINISHED = os.path.join(VENV, "setup-unfinished")
PYTHON_MIN = (3, 11)
# The newest that the locks were tried with; a newer one is used only when nothing else is there.
PYTHON_MAX = (3, 14)
SEARCHED = ("python3.13", "python3.12", "python3.14", "python3.11", "python3")
INTEL_OR_ARM = ("x86_64", "amd64", "aarch64", "arm64")
PIP_LINES = ("ERROR", "error", "Failed", "Caused by", "hint")


class SetupError(Exception):
    """The set-up cannot go on; the message is one line and says how to mend it."""


def requirement(name: str) -> str:
    """Return the path of a file of requirements/."""
    return os.path.join(ROOT, "requirements", name)


def version_of(python: str) -> Optional[Version]:
    """Return (major, minor) of an interpreter, None when it does not run (a shim of a version manager may not)."""
    program = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        told = subprocess.run([python, "-I", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
        major, minor = told.stdout.decode().split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def on_path(name: str) -> Tuple[str, Optional[Version]]:
    """Return where a command is and which Python it is, None when it is not there or does not run."""
    found = shutil.which(name)
    return (found, version_of(found)) if found else (name, None)


def choose_python(wanted: str) -> Tuple[str, Version]:
    """Return a fitting interpreter and its version: the one asked for by PYTHON=, this one, or one found on PATH."""
    if wanted:
        found, version = on_path(wanted)
        if version is None:
            raise SetupError("PYTHON=%s does not run: name a Python of at least 3.11" % wanted)
        if version < PYTHON_MIN:
            raise SetupError("PYTHON=%s is Python %d.%d: at least 3.11 is needed" % (wanted, version[0], version[1]))
        return found, version
    mine = (sys.version_info[0], sys.version_info[1])
    if PYTHON_MIN <= mine <= PYTHON_MAX:
        return sys.executable, mine
    for name in SEARCHED:
        found, version = on_path(name)
        if version is not None and PYTHON_MIN <= version <= PYTHON_MAX:
            return found, version
    if mine > PYTHON_MAX:
        return sys.executable, mine
    raise SetupError(
        "Python %d.%d is too old: install Python 3.11 or newer (apt install python3.13, brew install python@3.13), "
        "or name one: make PYTHON=/path/to/python3.13 ..." % mine
    )


def c_library() -> Tuple[str, Version]:
    """Return ("glibc", (major, minor)), ("macos", (major, minor)) or ("musl", (0, 0)) for this machine."""
    if sys.platform == "darwin":
        numbers = (platform.mac_ver()[0] or "0.0").split(".") + ["0"]
        return "macos", (int(numbers[0]), int(numbers[1]))
    with contextlib.suppress(ValueError, OSError, KeyError):
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return name, (int(major), int(minor))
    return "musl", (0, 0)


def server_locks(python_version: Version) -> List[str]:
    """Return the lock files of the servers that have a wheel for this machine (none: the system's are looked for)."""
    library, version = c_library()
    locks = []
    if platform.machine().lower() in INTEL_OR_ARM:
        oldest = {"glibc": (2, 34), "macos": (26, 0), "musl": (0, 0)}.get(library)
        if oldest is not None and version >= oldest:
            locks.append("postgres-celerp.txt")
        elif python_version >= (3, 12):
            locks.append("postgres-binaries.txt")
        if library == "macos" or (library == "glibc" and version >= (2, 28)):
            locks.append("valkey.txt")
    return locks


def digest(python_version: Version, locks: List[str]) -> str:
    """Return what the environment is made from, as one value: locks, project file, place and Python."""
    state = hashlib.sha256(repr((ROOT, python_version, locks)).encode())
    for path in [requirement(name) for name in ["dev.txt", "uv.txt"] + locks] + [
        os.path.join(ROOT, "pyproject.toml"),
        os.path.abspath(__file__),
    ]:
        with open(path, "rb") as file:
            state.update(file.read())
    return state.hexdigest()


def installed_version() -> Optional[Version]:
    """Return (major, minor) of the environment's Python as its own file tells it, None when it is not whole."""
    if not os.access(VENV_PYTHON, os.X_OK):
        return None
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(VENV, "pyvenv.cfg")) as file:
            for line in file:
                key, _, value = line.partition("=")
                if key.strip() == "version":
                    major, minor = value.strip().split(".")[:2]
                    return int(major), int(minor)
    return None


def is_done(wanted: str) -> bool:
    """Tell whether the environment stands, was made from these files, and is of the Python asked for."""
    version = installed_version()
    if version is None or (wanted and on_path(wanted)[1] != version):
        return False
    with contextlib.suppress(OSError):
        with open(STAMP) as file:
            return file.read() == digest(version, server_locks(version))
    return False


def environment() -> Dict[str, str]:
    """Return the environment for pip and uv: this one less what would lead them elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name == "PYTHONUTF8"}
    kept.update(VIRTUAL_ENV=VENV, PIP_DISABLE_PIP_VERSION_CHECK="1", UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never")
    # The machine's own certificates, as pip is told to use where a firm has its own; older and newer name.
    kept.update(UV_NATIVE_TLS="1", UV_SYSTEM_CERTS="1")
    kept.pop("__PYVENV_LAUNCHER__", None)
    home = os.path.expanduser("~")
    if "UV_CACHE_DIR" not in kept and not (os.path.isdir(home) and os.access(home, os.W_OK)):
        kept["UV_CACHE_DIR"] = os.path.join(VENV, "cache")
    return kept


def attempt(command: List[str]) -> Optional[str]:
    """Run a command quietly; return None when it succeeded, else the lines of its complaint worth reading."""
    try:
        told = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return str(error)
    if told.returncode == 0:
        return None
    lines = [line.strip() for line in told.stdout.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in PIP_LINES)] or lines
    return " | ".join(telling[:3])[:600] or "exit code %d" % told.returncode


def make_venv(python: str, version: Version) -> None:
    """Create the environment anew with an interpreter."""
    shutil.rmtree(VENV, ignore_errors=True)
    complaint = attempt([python, "-m", "venv", VENV])
    if complaint is None:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if "ensurepip" in complaint or "No module named" in complaint:
        raise SetupError("this Python has no venv: apt install python%d.%d-venv (or python3-venv), then again" % version)
    if shutil.disk_usage(ROOT).free < 1 << 30:
        raise SetupError("less than 1 GB free at %s: make room, then again" % ROOT)
    raise SetupError("cannot make %s: %s" % (VENV, complaint))


def install(locks: List[str]) -> None:
    """Install everything by uv; by pip where uv finds no way to the packages (it does not read pip's settings)."""
    pip = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes"]
    complaint = attempt(pip + ["-r", requirement("uv.txt")])
    if complaint is not None:
        raise SetupError("pip cannot install uv, check the network and pip's settings (pip config list): %s" % complaint)
    files = [requirement(name) for name in ["dev.txt", "uv.txt"] + locks]
    uv = [os.path.join(VENV, "bin", "uv"), "pip"]
    complaint = attempt(uv + ["sync", "--quiet", "--require-hashes", "--python", VENV_PYTHON] + files)
    if complaint is not None:
        print("uv could not install (%s); trying with pip" % complaint, flush=True)
        complaint = attempt(pip + [word for file in files for word in ("-r", file)])
    if complaint is not None:
        raise SetupError(
            "the packages cannot be installed: %s (a wheel missing for this Python? try make PYTHON=python3.13)" % complaint
        )
    complaint = attempt([VENV_PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ROOT])
    if complaint is not None:
        raise SetupError("the project itself cannot be installed: %s" % complaint)
    complaint = attempt([VENV_PYTHON, "-m", "local.servers"])
    if complaint is not None:
        raise SetupError(complaint)


def reusable(wanted: str) -> Optional[Version]:
    """Return the version of an environment that only has to be brought up to date, None when it must be made anew."""
    version = installed_version()
    whole = version is not None and version >= PYTHON_MIN and not os.path.exists(UNFINISHED)
    if not whole or version_of(VENV_PYTHON) != version or (wanted and on_path(wanted)[1] != version):
        return None
    return version


def set_up(wanted: str) -> None:
    """Bring the environment to what the locks say."""
    began = time.monotonic()
    version = reusable(wanted)
    if version is None:
        python, version = choose_python(wanted)
        told = "set-up: Python %d.%d from %s, packages into .venv (once, a minute or two)"
        print(told % (version[0], version[1], python), flush=True)
        make_venv(python, version)
    else:
        print("set-up: the locks changed, bringing .venv up to date", flush=True)
    with open(UNFINISHED, "w"):
        pass
    with contextlib.suppress(FileNotFoundError):
        os.unlink(STAMP)
    locks = server_locks(version)
    install(locks)
    with open(STAMP, "w") as file:
        file.write(digest(version, locks))
    os.unlink(UNFINISHED)
    print("set-up: done in %.0f s" % (time.monotonic() - began), flush=True)


def main() -> None:
    """Return at once when all is done; else do it, one at a time."""
    wanted = os.environ.get("CARDWRIGHT_PYTHON", "")
    try:
        if is_done(wanted):
            return
        if sys.platform not in ("linux", "darwin"):
            raise SetupError("%s is not supported: use Linux, macOS or WSL" % sys.platform)
        with open(os.path.join(ROOT, ".venv.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_done(wanted):
                set_up(wanted)
    except SetupError as error:
        sys.exit("set-up: %s" % error)
    except OSError as error:
        sys.exit("set-up: %s (is %s writable and has it room?)" % (error, ROOT))
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the next run starts it afresh")


if __name__ == "__main__":
    main()
