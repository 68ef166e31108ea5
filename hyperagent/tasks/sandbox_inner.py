"""What runs inside the sandbox: give up rights, then run the program.

`hyperagent.tasks.sandbox` passes the text of this file to a fresh isolated interpreter, so it
imports nothing of ours. It reads its orders as JSON from file descriptor 0, locks itself in
(resource limits, Landlock, seccomp), runs the program and then its tests, and only then answers
on the control socket by echoing the nonce that waits there.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446

# Calls that a calculation never needs, by architecture: (x86_64, aarch64); None where the
# architecture lacks the call. Processes, programs, signals and limits of others; the network;
# memory outside RLIMIT_AS; file metadata, which Landlock does not guard; namespaces and mounts.
DENIED = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    "setsid": (112, 157), "setpgid": (109, 154),
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "truncate": (76, 45), "file_setattr": (469, 469),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "inotify_init1": (294, 26),
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "personality": (135, 92),
    "quotactl": (179, 60), "acct": (163, 89), "swapon": (167, 224), "swapoff": (168, 225),
    "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "syslog": (103, 116),
    "vhangup": (153, 58), "prctl": (157, 167), "iopl": (172, None), "ioperm": (173, None),
}  # fmt: skip
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)
CLONE_THREAD, EPERM, ENOSYS = 0x00010000, 1, 38
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000


class LockError(Exception):
    """A right that could not be given up; the program is then not run."""


def checked(result, what):
    if result < 0:
        raise LockError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def seccomp_filter(machine):
    """Classic BPF instructions ``(code, jump if true, jump if false, value)``."""
    if machine not in ARCHITECTURES:
        raise LockError(f"no system call table for {machine}")
    column, audit = ARCHITECTURES[machine]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    number, architecture, first_argument = 0, 4, 16
    code = [(load, 0, 0, architecture), (equal, 1, 0, audit), (give, 0, 0, KILL)]
    code += [(load, 0, 0, number)]
    # The x32 calls of x86_64 carry this bit and would pass every comparison below.
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, KILL)]
    for numbers in DENIED.values():
        if numbers[column] is not None:
            code += [(equal, 0, 1, numbers[column]), (give, 0, 0, ERRNO | EPERM)]
    # glibc falls back from clone3, whose flags a filter cannot see, to clone.
    code += [(equal, 0, 1, CLONE3[column]), (give, 0, 0, ERRNO | ENOSYS)]
    code += [(equal, 0, 4, CLONE[column]), (load, 0, 0, first_argument)]
    code += [(any_bit, 0, 1, CLONE_THREAD), (give, 0, 0, ALLOW), (give, 0, 0, ERRNO | EPERM)]
    # Limits: only of the process itself (pid 0).
    code += [(equal, 0, 3, PRLIMIT[column]), (load, 0, 0, first_argument)]
    code += [(equal, 1, 0, 0), (give, 0, 0, ERRNO | EPERM)]
    return [*code, (give, 0, 0, ALLOW)]


def apply_seccomp(libc, machine):
    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                    ("k", ctypes.c_uint32)]  # fmt: skip

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint16), ("code", ctypes.POINTER(Instruction))]

    code = seccomp_filter(machine)
    program = Program(len(code), (Instruction * len(code))(*code))
    checked(libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


def apply_landlock(libc, readable):
    """Deny every file but `readable` ones, TCP, and abstract sockets and signals outwards."""
    version = checked(libc.syscall(LANDLOCK_CREATE, None, 0, 1), "Landlock")
    if version < 3:
        raise LockError(f"Landlock version {version} lets a program truncate files; 3 is needed")
    # Access bits by ABI version: 13 rights, then refer (2), truncate (3), device ioctl (5).
    handled = (1 << 13) - 1
    handled |= 1 << 13 | 1 << 14 | (1 << 15 if version >= 5 else 0)
    network, scoped = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    rules = (ctypes.c_uint64 * 3)(handled, network, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = checked(libc.syscall(LANDLOCK_CREATE, rules, size, 0), "Landlock rules")

    class Beneath(ctypes.Structure):
        _pack_ = 1
        _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]

    read_file, read_dir, write_file = 1 << 2, 1 << 3, 1 << 1
    for path in readable:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # A path that this system does not have needs no permission.
        allowed = read_file | read_dir if os.path.isdir(path) else read_file
        if path == "/dev/null":
            allowed |= write_file
        rule = Beneath(allowed, parent)
        checked(libc.syscall(LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0), f"allowing {path}")
        os.close(parent)
    checked(libc.syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock restrict")
    os.close(ruleset)


def drop_capabilities(libc):
    """Give up every capability; root then is an owner of files and nothing more."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    checked(libc.capset(header, (ctypes.c_uint32 * 6)()), "capabilities")


def lock(orders):
    libc = ctypes.CDLL(None, use_errno=True)
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "death signal")
    checked(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    memory, seconds = orders["memory_mb"] << 20, orders["seconds"]
    limits = {"AS": memory, "DATA": memory, "CPU": seconds + 1, "FSIZE": 0, "CORE": 0,
              "NOFILE": 64, "MEMLOCK": 0, "MSGQUEUE": 0}  # fmt: skip
    for name, limit in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    drop_capabilities(libc)
    try:
        apply_landlock(libc, orders["readable"])
    except LockError:
        if orders["landlock"]:
            raise
    apply_seccomp(libc, os.uname().machine)


def run(orders, control):
    import builtins
    import io
    import types

    builtins.exit = builtins.quit = sys.exit  # Only the site module, left out here, has them.
    # Kept, because the program may replace them; and importing may be impossible afterwards.
    write, read, leave, show = os.write, os.read, os._exit, sys.__excepthook__
    sys.stdin = io.TextIOWrapper(io.BytesIO(orders["stdin"].encode()), encoding="utf-8")
    sys.argv = ["program"]
    name = "program" if orders["tests"] else "__main__"
    module = sys.modules[name] = types.ModuleType(name)
    verdict, status = "", 0
    try:
        exec(compile(orders["code"], "<program>", "exec"), module.__dict__)
        if orders["tests"]:
            exec(compile(orders["tests"], "<tests>", "exec"), module.__dict__)
    except SystemExit as stop:
        if orders["tests"] or stop.code not in (None, 0):
            verdict, status = f"SystemExit: {stop.code}", 1
            if isinstance(stop.code, int):
                status = stop.code & 255
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        show(type(error), error, error.__traceback__)
        verdict = f"{type(error).__name__}: {error}"[:300].rstrip(": ")
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # The program may have closed or replaced it; that is its affair.
            continue
    if verdict:
        write(control, b"failed " + verdict.encode("utf-8", "replace"))
    else:
        write(control, b"passed " + read(control, 64))
    leave(status)


def main():
    orders = json.load(sys.stdin)
    control = orders["control"]
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    try:
        lock(orders)
    except (LockError, OSError, ValueError) as error:
        os.write(control, f"refused {error}".encode())
        os._exit(3)
    run(orders, control)


if __name__ == "__main__":
    main()
