"""Restrict which files a process can change, with Linux's Landlock (https://docs.kernel.org/userspace-api/landlock.html)."""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on every architecture."""
GET_VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38
WRITE_FILE, REFER, TRUNCATE = 1 << 1, 1 << 13, 1 << 14
FOLDER_RIGHTS = sum(1 << bit for bit in range(4, 13))
"""The rights to create and to remove entries of every kind in a folder."""


class PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict_writes(folder: Path, files: Iterable[Path] = ()) -> bool:
    """From now on, this thread and all that it starts can change only ``folder`` and the existing ``files``.

    Reading, open pipes and sockets, and the network are not restricted. The restriction cannot be undone. Landlock does
    not cover the mode, owner and dates of a file.

    Returns:
        False where the system has no Landlock; nothing is restricted then.

    Raises:
        OSError: a path does not exist, or Landlock failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION) if sys.platform == "linux" else -1
    if version < 1:
        return False
    file_rights = WRITE_FILE | (TRUNCATE if version >= 3 else 0)
    all_rights = file_rights | FOLDER_RIGHTS | (REFER if version >= 2 else 0)

    def call(*arguments: object) -> int:
        result = libc.syscall(*arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"Landlock failed: {os.strerror(ctypes.get_errno())}")
        return result

    handled = ctypes.c_uint64(all_rights)
    rules = call(CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(ctypes.sizeof(handled)), 0)
    for path, rights in [(folder, all_rights), *((file, file_rights) for file in files)]:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        call(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(PathBeneath(rights, parent)), 0)
        os.close(parent)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # without it, only root may restrict itself
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)
    return True
