/* The load of `cargo xtask bench`: one static program that serves and that measures, in a namespace or in a container.
 *
 *   load serve PORT                          TCP and UDP on one port, until SIGTERM (see below)
 *   load rr HOST PORT SECONDS                one byte there and back over one TCP connection, one at a time
 *   load stream HOST PORT SECONDS            as many bytes as one TCP connection takes
 *   load connect HOST PORT SECONDS FLYING    new connections, each with one HTTP request and its whole answer
 *   load echo HOST PORT SECONDS FLYING       small datagrams there and back
 *   load dns HOST NAME SECONDS FLYING        questions for an A record to port 53
 *   load until HOST NAME PORT SECONDS        asks for the name until it is known, then connects until that is answered;
 *                                            prints when (nanoseconds of the wall clock)
 *   load write MEGABYTES                     that much output, in lines of 100 bytes
 *   load true                                ends at once
 *
 * `LOAD_CPU=n` in the environment, or `-c n` as the first words, keeps it on one CPU. The server decides by a
 * connection's first byte: `G` (of GET) is answered with a small page and closed, `S` is swallowed up to the end of the
 * stream and then counted, anything else is echoed. Datagrams are echoed. What is measured is printed as one line of
 * JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define PATIENCE_NS 1000000000ull
#define TIMES_MAX (4u << 20)

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        errno = EINVAL;
        fail(host);
    }
    return a;
}

static void nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* What was measured: how long each took, in nanoseconds. */
static uint32_t *times;
static size_t timed;

static void took(uint64_t from) {
    if (!times && !(times = malloc(TIMES_MAX * sizeof *times)))
        fail("malloc");
    uint64_t t = now() - from;
    if (timed < TIMES_MAX)
        times[timed++] = t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(uint64_t done, uint64_t failed, uint64_t began) {
    double seconds = (double)(now() - began) / 1e9;
    if (timed)
        qsort(times, timed, sizeof *times, by_size);
    printf("{\"per_second\":%.1f,\"done\":%lu,\"failed\":%lu,\"p50_us\":%.2f,\"p99_us\":%.2f}\n", (double)done / seconds,
           (unsigned long)done, (unsigned long)failed, timed ? times[timed / 2] / 1e3 : 0.0,
           timed ? times[timed * 99 / 100] / 1e3 : 0.0);
}

/* ---- the server */

struct conn {
    int fd;
    char kind; /* 0 until the first byte */
    uint64_t swallowed;
};

static void end(int signal) {
    (void)signal;
    _exit(0);
}

static int listener(int type, int port) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), one = 1, big = 4 << 20;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || (type == SOCK_STREAM && listen(fd, 4096)))
        fail("listen");
    return fd;
}

/* 0 when the connection is over. */
static int answer(struct conn *c) {
    static char buffer[256 << 10], page[512];
    static int page_size;
    ssize_t n = read(c->fd, buffer, c->kind == 'S' ? sizeof buffer : 4096);
    if (n < 0)
        return errno == EAGAIN;
    if (n == 0) {
        if (c->kind == 'S')
            (void)!write(c->fd, &c->swallowed, sizeof c->swallowed);
        return 0;
    }
    if (!c->kind)
        c->kind = buffer[0] == 'G' || buffer[0] == 'S' ? buffer[0] : 'E';
    if (c->kind == 'S') {
        c->swallowed += (uint64_t)n;
        return 1;
    }
    if (c->kind == 'E')
        return write(c->fd, buffer, (size_t)n) == n;
    if (!page_size) {
        char host[128] = "?";
        gethostname(host, sizeof host - 1);
        page_size = snprintf(page, sizeof page, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s\n", strlen(host) + 1, host);
    }
    (void)!write(c->fd, page, (size_t)page_size);
    return 0;
}

static void serve(int port) {
    struct sigaction quick = {.sa_handler = end};
    sigaction(SIGTERM, &quick, NULL);
    sigaction(SIGINT, &quick, NULL);
    signal(SIGPIPE, SIG_IGN);
    int tcp = listener(SOCK_STREAM, port), udp = listener(SOCK_DGRAM, port), e = epoll_create1(0);
    struct conn door = {.fd = tcp}, hatch = {.fd = udp};
    epoll_ctl(e, EPOLL_CTL_ADD, tcp, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &door});
    epoll_ctl(e, EPOLL_CTL_ADD, udp, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &hatch});
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(e, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &door) {
                int fd;
                while ((fd = accept4(tcp, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    struct conn *fresh = calloc(1, sizeof *fresh);
                    if (!fresh)
                        fail("calloc");
                    fresh->fd = fd;
                    nodelay(fd);
                    epoll_ctl(e, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = fresh});
                }
            } else if (c == &hatch) {
                char datagram[2048];
                struct sockaddr_in from;
                for (int k = 0; k < 64; k++) {
                    socklen_t length = sizeof from;
                    ssize_t got = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &length);
                    if (got < 0)
                        break;
                    sendto(udp, datagram, (size_t)got, 0, (struct sockaddr *)&from, length);
                }
            } else if (!answer(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}

/* ---- the clients */

static int connected(const char *host, int port) {
    struct sockaddr_in a = address(host, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        fail("connect");
    nodelay(fd);
    return fd;
}

static void round_trips(const char *host, int port, uint64_t lasting) {
    int fd = connected(host, port);
    uint64_t began = now(), end_at = began + lasting, done = 0, sent;
    char byte = 'e';
    while ((sent = now()) < end_at) {
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
            fail("round trip");
        took(sent);
        done++;
    }
    report(done, 0, began);
}

static void stream(const char *host, int port, uint64_t lasting) {
    static char block[128 << 10];
    memset(block, 'S', sizeof block);
    int fd = connected(host, port);
    uint64_t began = now(), end_at = began + lasting, swallowed = 0, sent = 0;
    while (now() < end_at) {
        ssize_t n = write(fd, block, sizeof block);
        if (n < 0)
            fail("stream");
        sent += (uint64_t)n;
    }
    shutdown(fd, SHUT_WR);
    if (read(fd, &swallowed, sizeof swallowed) != sizeof swallowed || swallowed != sent)
        fail("not all arrived");
    printf("{\"gbit_per_second\":%.3f}\n", (double)swallowed * 8 / (double)(now() - began));
}

struct attempt {
    int fd;
    uint64_t began;
};

static void begin(int e, struct attempt *t, const struct sockaddr_in *to) {
    t->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (t->fd < 0)
        fail("socket");
    /* The last word is a reset, so that no port waits out its time anywhere and every run begins alike. */
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    t->began = now();
    if (connect(t->fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS)
        fail("connect");
    epoll_ctl(e, EPOLL_CTL_ADD, t->fd, &(struct epoll_event){.events = EPOLLOUT, .data.ptr = t});
}

static void connections(const char *host, int port, uint64_t lasting, int flying) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    struct sockaddr_in to = address(host, port);
    struct attempt *all = calloc((size_t)flying, sizeof *all);
    int e = epoll_create1(0);
    uint64_t began = now(), end_at = began + lasting, done = 0, failed = 0;
    for (int i = 0; i < flying; i++)
        begin(e, &all[i], &to);
    while (now() < end_at) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(e, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            struct attempt *t = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                if (write(t->fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1) {
                    epoll_ctl(e, EPOLL_CTL_MOD, t->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = t});
                    continue;
                }
                failed++;
            } else {
                char page[1024];
                ssize_t got = read(t->fd, page, sizeof page);
                if (got > 0 || (got < 0 && errno == EAGAIN))
                    continue; /* up to the end of the stream */
                if (got == 0) {
                    took(t->began);
                    done++;
                } else {
                    failed++;
                }
            }
            close(t->fd);
            begin(e, t, &to);
        }
        for (int i = 0; n == 0 && i < flying; i++)
            if (now() - all[i].began > PATIENCE_NS) {
                failed++;
                close(all[i].fd);
                begin(e, &all[i], &to);
            }
    }
    report(done, failed, began);
}

/* Datagrams that come back with the two bytes that they began with. */
static void datagrams(const struct sockaddr_in *to, const char *rest, size_t size, int names, uint64_t lasting, int flying) {
    char out[512], in[2048];
    uint64_t *sent = calloc((size_t)flying, sizeof *sent);
    uint16_t *round = calloc((size_t)flying, sizeof *round);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), big = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to))
        fail("connect");
    memcpy(out + 2, rest, size);
    uint64_t began = now(), end_at = began + lasting, done = 0, failed = 0;
    for (uint64_t t = began; t < end_at; t = now()) {
        for (int i = 0; i < flying; i++)
            if (!sent[i] || t - sent[i] > PATIENCE_NS) {
                failed += sent[i] != 0;
                uint16_t id = htons((uint16_t)(i + flying * (++round[i] % 64)));
                memcpy(out, &id, 2);
                sent[i] = now();
                (void)!write(fd, out, size + 2);
            }
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 100) <= 0)
            continue;
        ssize_t got;
        while ((got = recv(fd, in, sizeof in, MSG_DONTWAIT)) >= 2) {
            uint16_t id;
            memcpy(&id, in, 2);
            int i = ntohs(id) % flying;
            if (!sent[i] || ntohs(id) != (uint16_t)(i + flying * (round[i] % 64)))
                continue;
            /* A name that is not known is no answer. */
            if (names && (got < 12 || (in[3] & 15) || !(in[6] | in[7])))
                failed++;
            else
                done++;
            took(sent[i]);
            sent[i] = 0;
        }
    }
    report(done, failed, began);
}

/* A question for an A record, without the two bytes that it begins with; its size. */
static size_t question(char *q, const char *name) {
    memcpy(q, "\x01\0\0\x01\0\0\0\0\0\0", 10); /* recursion desired; one question */
    size_t at = 10;
    while (*name && at < 270) {
        size_t label = strcspn(name, ".");
        if (label > 63 || at + label > 270)
            break;
        q[at++] = (char)label;
        memcpy(q + at, name, label);
        at += label;
        name += label + (name[label] == '.');
    }
    memcpy(q + at, "\0\0\x01\0\x01", 5);
    return at + 5;
}

static void questions(const char *host, const char *name, uint64_t lasting, int flying) {
    char q[300];
    struct sockaddr_in to = address(host, 53);
    datagrams(&to, q, question(q, name), 1, lasting, flying);
}

static uint64_t wall(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The first address of a name, or 0. */
static uint32_t asked(const struct sockaddr_in *to, const char *name, uint16_t id) {
    char q[302], in[2048];
    memcpy(q, &id, 2);
    size_t size = 2 + question(q + 2, name);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to))
        fail("connect");
    (void)!write(fd, q, size);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t got = poll(&wait, 1, 300) > 0 ? recv(fd, in, sizeof in, MSG_DONTWAIT) : 0;
    close(fd);
    if (got < (ssize_t)size + 16 || memcmp(in, &id, 2) || (in[3] & 15) || !(in[6] | in[7]))
        return 0;
    /* The answer's name is a pointer or written out; type, class, time to live and length are ten more. */
    ssize_t at = (ssize_t)size;
    while (at < got && in[at] && (in[at] & 0xc0) != 0xc0)
        at += 1 + in[at];
    at += at < got && in[at] ? 2 : 1;
    uint32_t found;
    if (at + 14 > got)
        return 0;
    memcpy(&found, in + at + 10, 4);
    return found;
}

static void until(const char *host, const char *name, int port, uint64_t lasting) {
    struct sockaddr_in server = address(host, 53), to = address("0.0.0.0", port);
    uint64_t end_at = now() + lasting, resolved = 0, reached = 0;
    struct timespec pause = {.tv_nsec = 2000000};
    for (uint16_t id = 1; !reached && now() < end_at; id++, nanosleep(&pause, NULL)) {
        uint32_t found = asked(&server, name, id);
        if (!found)
            continue;
        resolved = resolved ? resolved : wall();
        to.sin_addr.s_addr = found;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 1;
        socklen_t size = sizeof error;
        (void)connect(fd, (const struct sockaddr *)&to, sizeof to);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (poll(&wait, 1, 50) > 0 && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
            reached = wall();
        close(fd);
    }
    printf("{\"resolved\":%lu,\"reached\":%lu}\n", (unsigned long)resolved, (unsigned long)reached);
}

/* Lines that can be told apart, so that a reader can count them. */
static void write_lines(long megabytes) {
    char line[101];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    for (long i = 0; i < megabytes * 10000; i++) {
        snprintf(line, sizeof line, "%012ld %086d\n", i, 0);
        if (fwrite(line, 1, 100, stdout) != 100)
            fail("write");
    }
    if (fflush(stdout))
        fail("write");
}

static uint64_t seconds(const char *text) { return (uint64_t)(atof(text) * 1e9); }

int main(int argc, char **argv) {
    const char *cpu = getenv("LOAD_CPU");
    if (argc > 2 && !strcmp(argv[1], "-c")) {
        cpu = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (cpu && *cpu) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((unsigned)atoi(cpu), &one);
        if (sched_setaffinity(0, sizeof one, &one))
            fail("sched_setaffinity");
    }
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "true"))
        return 0;
    if (!strcmp(verb, "serve") && argc == 3)
        serve(atoi(argv[2]));
    else if (!strcmp(verb, "rr") && argc == 5)
        round_trips(argv[2], atoi(argv[3]), seconds(argv[4]));
    else if (!strcmp(verb, "stream") && argc == 5)
        stream(argv[2], atoi(argv[3]), seconds(argv[4]));
    else if (!strcmp(verb, "connect") && argc == 6)
        connections(argv[2], atoi(argv[3]), seconds(argv[4]), atoi(argv[5]));
    else if (!strcmp(verb, "echo") && argc == 6) {
        struct sockaddr_in to = address(argv[2], atoi(argv[3]));
        char body[38] = {0};
        datagrams(&to, body, sizeof body, 0, seconds(argv[4]), atoi(argv[5]));
    } else if (!strcmp(verb, "dns") && argc == 6)
        questions(argv[2], argv[3], seconds(argv[4]), atoi(argv[5]));
    else if (!strcmp(verb, "until") && argc == 6)
        until(argv[2], argv[3], atoi(argv[4]), seconds(argv[5]));
    else if (!strcmp(verb, "write") && argc == 3)
        write_lines(atol(argv[2]));
    else {
        fprintf(stderr, "load serve|rr|stream|connect|echo|dns|until|write|true …\n");
        return 2;
    }
    return 0;
}
