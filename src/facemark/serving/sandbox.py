"""Taking a process's right to change files, with Linux's Landlock (https://docs.kernel.org/userspace-api/landlock.html)."""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
ASK_VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38
WRITE_FILE, REFER, TRUNCATE = 1 << 1, 1 << 13, 1 << 14
OF_FOLDERS = sum(1 << bit for bit in range(4, 13))  # to make and to remove entries of every kind


class PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def writes_to(folder: Path, files: Iterable[Path] = ()) -> bool:
    """From now on this thread, and all that it starts, may change ``folder`` and the existing ``files``, nothing else.

    Reading, pipes and sockets that are open, and the network are left alone. It cannot be undone. Landlock does not
    cover the mode, owner and dates of a file.

    Returns:
        False where the system has no Landlock, and nothing was done.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION) if sys.platform == "linux" else -1
    if version < 1:
        return False
    of_files = WRITE_FILE | (TRUNCATE if version >= 3 else 0)
    of_folders = of_files | OF_FOLDERS | (REFER if version >= 2 else 0)

    def call(*arguments: object) -> int:
        result = libc.syscall(*arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"Landlock refused: {os.strerror(ctypes.get_errno())}")
        return result

    handled = ctypes.c_uint64(of_folders)
    rules = call(CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(ctypes.sizeof(handled)), 0)
    for path, rights in [(folder, of_folders), *((file, of_files) for file in files)]:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        call(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(PathBeneath(rights, parent)), 0)
        os.close(parent)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # without which only root may restrict itself
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)
    return True
