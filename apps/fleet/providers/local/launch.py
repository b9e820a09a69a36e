"""Boots one instance: python -I -S launch.py PID_FILE LOCK_FD GENERATION VERSION STDERR_FILE PROGRAM ARG...

Runs as its own short program, because a fork in a process with threads (a worker, the portal) is unsafe.
The child leaves the caller's session, writes down who it is, and only then lets go of the instance's lock,
which it inherited, and becomes the program. So whoever gets the lock next finds each process that was ever
started, also when the caller was killed in the middle, and no second one is started beside it.

Standard library only, few imports: it is part of every boot's time. Ends with 0 when PID_FILE is written;
otherwise says why on standard error and ends with 1.
"""

import os
import sys
import time


def main(argv: list[str]) -> int:
    """Fork, and report what the child managed: the parent ends, so that the child is nobody's zombie."""
    pid_file, lock_fd, generation, version, stderr_file, *command = argv
    readable, writable = os.pipe()
    if os.fork() == 0:
        os.close(readable)
        try:
            _become(
                pid_file,
                int(lock_fd),
                int(generation),
                version,
                stderr_file,
                command,
                writable,
            )
        except OSError as error:
            os.write(
                writable,
                f"[Errno {error.errno}] {error.strerror}: {error.filename or pid_file}".encode(),
            )
        os._exit(1)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        answer = pipe.read().decode()
    if answer != "ok":
        sys.stderr.write(answer or "the launcher's child ended without a word")
        return 1
    return 0


def _become(
    pid_file: str,
    lock_fd: int,
    generation: int,
    version: str,
    stderr_file: str,
    command: list[str],
    writable: int,
) -> None:
    os.setsid()
    os.chdir(os.path.dirname(pid_file))
    os.umask(0o077)
    errors = os.open(stderr_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    _write_down(pid_file, generation, version)
    os.dup2(nothing, 0)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    os.write(writable, b"ok")
    os.close(lock_fd)
    os.closerange(3, 256)
    os.execv(command[0], command)  # noqa: S606 (no shell is the point)


def _write_down(pid_file: str, generation: int, version: str) -> None:
    """In one rename: the process, what tells it from a later one with the same pid, and the boot's number."""
    content = (
        f'{{"pid": {os.getpid()}, "mark": "{mark(os.getpid())}", "started": {time.time():.3f}, '
        f'"generation": {generation}, "version": "{version}"}}\n'
    )
    with open(pid_file + ".new", "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(pid_file + ".new", pid_file)


def mark(pid: int) -> str:
    """What a recycled pid cannot have: the boot of the machine and the process's start in clock ticks.

    Empty where there is no /proc; there the start time alone has to do. Source: proc(5), field 22 of stat.
    """
    try:
        with (
            open(f"/proc/{pid}/stat") as stat,
            open("/proc/sys/kernel/random/boot_id") as boot,
        ):
            return boot.read().strip() + ":" + stat.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
