/* A small web service that says who it is and who asks, over TCP (HTTP) and UDP, IPv6 and IPv4, on one port.
 *
 *   greeter [PORT]          (default 8080)
 *
 * Every answer has three lines: the container's id (its host name), the client's address, the address it was reached
 * at. A process per connection, so that a slow client hinders nobody. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char host[256];

static void end(int signal) {
    (void)signal;
    _exit(0);
}

/* "10.0.1.5" also for an IPv4 address in IPv6 clothes. */
static void address(const struct sockaddr_storage *a, char *out, size_t size) {
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
        if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
            inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], out, size);
        else
            inet_ntop(AF_INET6, &six->sin6_addr, out, size);
    } else {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, size);
    }
}

static int body(int fd, const struct sockaddr_storage *client, char *out, size_t size) {
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    char from[INET6_ADDRSTRLEN] = "?", at[INET6_ADDRSTRLEN] = "?";
    address(client, from, sizeof from);
    if (getsockname(fd, (struct sockaddr *)&own, &length) == 0)
        address(&own, at, sizeof at);
    return snprintf(out, size, "container %s\nclient %s\nserver %s\n", host, from, at);
}

static void serve(int fd, const struct sockaddr_storage *client) {
    char request[8192], text[512], head[256];
    size_t got = 0;
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (got < sizeof request - 1) {
        ssize_t n = read(fd, request + got, sizeof request - 1 - got);
        if (n <= 0)
            return;
        got += (size_t)n;
        request[got] = 0;
        if (strstr(request, "\r\n\r\n") || strstr(request, "\n\n"))
            break;
    }
    int length = body(fd, client, text, sizeof text);
    int head_length = snprintf(head, sizeof head,
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                               "Connection: close\r\n\r\n",
                               length);
    if (write(fd, head, (size_t)head_length) < 0)
        return;
    if (strncmp(request, "HEAD ", 5) != 0 && write(fd, text, (size_t)length) < 0)
        return;
    shutdown(fd, SHUT_WR);
    while (read(fd, request, sizeof request) > 0) {
    }
}

static int open_socket(int kind, int port) {
    int on = 1, off = 0, fd = socket(AF_INET6, kind, 0);
    if (fd >= 0) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        if (bind(fd, (struct sockaddr *)&six, sizeof six) == 0)
            return fd;
        close(fd);
    }
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    fd = socket(AF_INET, kind, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&four, sizeof four) == 0)
        return fd;
    fprintf(stderr, "greeter: cannot bind port %d: %s\n", port, strerror(errno));
    exit(1);
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 8080;
    gethostname(host, sizeof host - 1);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    struct pollfd doors[2] = {{.fd = open_socket(SOCK_STREAM, port), .events = POLLIN},
                              {.fd = open_socket(SOCK_DGRAM, port), .events = POLLIN}};
    if (listen(doors[0].fd, 1024) != 0) {
        fprintf(stderr, "greeter: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    printf("greeter: %s answers on port %d\n", host, port);
    fflush(stdout);
    for (;;) {
        struct sockaddr_storage client;
        socklen_t length = sizeof client;
        if (poll(doors, 2, -1) < 0)
            continue;
        if (doors[0].revents & POLLIN) {
            int fd = accept(doors[0].fd, (struct sockaddr *)&client, &length);
            if (fd >= 0 && fork() == 0) {
                serve(fd, &client);
                _exit(0);
            }
            if (fd >= 0)
                close(fd);
        }
        if (doors[1].revents & POLLIN) {
            char text[2048];
            length = sizeof client;
            if (recvfrom(doors[1].fd, text, sizeof text, 0, (struct sockaddr *)&client, &length) >= 0) {
                int n = body(doors[1].fd, &client, text, sizeof text);
                sendto(doors[1].fd, text, (size_t)n, 0, (struct sockaddr *)&client, length);
            }
        }
    }
}
