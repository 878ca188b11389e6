/* Process 1 of containers started with --init: runs the program, hands signals on, reaps orphans. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    if (first >= argc) {
        fprintf(stderr, "docker-init: no program given\n");
        return 1;
    }
    /* We come with every signal held back, so that none is lost before we can hear. */
    sigset_t all, none;
    sigemptyset(&none);
    sigfillset(&all);
    int own[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    sigprocmask(SIG_SETMASK, &all, NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("docker-init: fork");
        return 1;
    }
    if (child == 0) {
        /* A group of its own in the foreground, so that the terminal's signals reach it and not us. */
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(0, getpgrp());
        signal(SIGTTOU, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(argv[first], argv + first);
        int code = errno == ENOENT ? 127 : 126;
        fprintf(stderr, "docker-init: exec %s failed: %s\n", argv[first], strerror(errno));
        _exit(code);
    }
    for (;;) {
        int status, signal_number = sigwaitinfo(&all, NULL);
        if (signal_number > 0 && signal_number != SIGCHLD)
            kill(child, signal_number);
        pid_t pid;
        int ended = -1;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == child)
                ended = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (ended >= 0)
            return ended;
    }
}
