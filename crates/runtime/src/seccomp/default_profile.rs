//! The calls that Docker lets an ordinary container make.
//!
//! What is not named here answers EPERM. Written by theme; which capability unlocks what is a table of its own.
use super::{ArchMap, Arg, Condition, Profile, Rule};

/// Allowed to everybody.
const EVERYBODY: &[&str] = &[
    // files and directories
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 \
     fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 \
     fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents \
     getdents64 ioctl lchown lchown32 link linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat \
     name_to_handle_at newfstatat open openat openat2 readahead readlink readlinkat rename renameat renameat2 rmdir \
     stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs truncate truncate64 umask unlink \
     unlinkat utime utimensat utimensat_time64 utimes listmount statmount",
    // reading and writing
    "pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv sendfile sendfile64 splice tee vmsplice write writev \
     pipe pipe2",
    // extended attributes
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr \
     lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat",
    // waiting for events
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd \
     eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll \
     ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime \
     timerfd_gettime64 timerfd_settime timerfd_settime64",
    // asynchronous I/O
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set",
    // memory
    "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap \
     mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect \
     process_mrelease remap_file_pages",
    // processes and threads
    "arch_prctl capget capset execve execveat exit exit_group fork getcpu getegid getegid32 geteuid geteuid32 getgid \
     getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid \
     getresuid32 getrlimit get_robust_list getrusage getsid get_thread_area gettid getuid getuid32 pidfd_open \
     pidfd_send_signal prctl prlimit64 rseq sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
     sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
     sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 \
     setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid \
     setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid set_thread_area \
     set_tid_address setuid setuid32 times ugetrlimit uname uretprobe vfork wait4 waitid waitpid sysinfo getrandom \
     riscv_hwprobe landlock_add_rule landlock_create_ruleset landlock_restrict_self process_vm_readv \
     process_vm_writev ptrace",
    // signals
    "alarm getitimer kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo \
     rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo setitimer sigaltstack \
     sigprocmask sigreturn tgkill tkill",
    // locks and messages between processes
    "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify mq_open \
     mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd \
     semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    // the network (`socket` itself is below)
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 \
     recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // clocks
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
     clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time timer_create timer_delete timer_getoverrun \
     timer_gettime timer_gettime64 timer_settime timer_settime64",
];

/// Allowed on some architectures.
const BY_ARCH: &[(&[&str], &str)] = &[
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (&["arm", "arm64"], "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
];

/// Unlocked by a capability.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Execution domains that `personality` may choose: Linux, 32 bit, no randomised addresses, both, and "only ask".
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/// Address families above 11 that `socket` may open. AF_ALG (38) and AF_VSOCK (40) reach the host, so they are not.
const FAMILIES: [u64; 25] =
    [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// Flags of `clone` that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// Docker's default profile.
pub(crate) fn default_profile() -> Profile {
    let mut rules: Vec<Rule> = EVERYBODY.iter().map(|names| allow(names)).collect();
    rules.extend(BY_ARCH.iter().map(|(arches, names)| Rule {
        includes: Condition { arches: owned(arches.iter().copied()), ..Condition::default() },
        ..allow(names)
    }));
    rules.extend(BY_CAPABILITY.iter().map(|(capability, names)| Rule {
        includes: Condition { caps: vec![(*capability).to_owned()], ..Condition::default() },
        ..allow(names)
    }));
    rules.extend(PERSONALITIES.map(|domain| when("personality", "SCMP_CMP_EQ", domain)));
    rules.push(when("socket", "SCMP_CMP_LT", 12));
    rules.extend(FAMILIES.iter().map(|family| when("socket", "SCMP_CMP_EQ", *family)));
    let without_admin = Condition { caps: vec!["CAP_SYS_ADMIN".to_owned()], ..Condition::default() };
    rules.push(Rule { excludes: without_admin.clone(), ..when("clone", "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES) });
    // Its flags lie in memory, where a filter cannot look: it must seem missing, so that callers use `clone`.
    rules.push(Rule {
        names: vec!["clone3".to_owned()],
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(38),
        excludes: without_admin,
        ..Rule::default()
    });
    let sub = |architecture: &str, subs: &[&str]| ArchMap {
        architecture: architecture.to_owned(),
        sub_architectures: owned(subs.iter().copied()),
    };
    Profile {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(1),
        arch_map: vec![
            sub("SCMP_ARCH_X86_64", &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
            sub("SCMP_ARCH_AARCH64", &["SCMP_ARCH_ARM"]),
        ],
        architectures: Vec::new(),
        syscalls: rules,
    }
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

fn allow(names: &str) -> Rule {
    Rule { names: owned(names.split_whitespace()), action: "SCMP_ACT_ALLOW".to_owned(), ..Rule::default() }
}

fn when(name: &str, op: &str, value: u64) -> Rule {
    let arg = Arg { index: 0, value, value_two: 0, op: op.to_owned() };
    Rule { args: vec![arg], ..allow(name) }
}
