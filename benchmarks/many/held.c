/* Clients that stay: many WebSockets from one source address, on one thread, that come back when they are cut off.
 *
 *     held SOURCE PORT PATH CLIENTS IN_FLIGHT RETURN_MS
 *
 * Connects to 127.0.0.1:PORT from SOURCE (127.0.0.2 and on: each address has its own 28,000 ports), IN_FLIGHT
 * handshakes at a time. Who is cut off or refused comes back after a random part of RETURN_MS, from its cursor.
 * Obeys lines on stdin: "report" prints a JSON line of counters, "quit" ends.
 *
 * Every frame is parsed. An event must have the offset after the last one; what has not is a hole or a repeat.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ = 1 << 16, MAX_CARRY = 1 << 20, CURSOR = 40, MAX_TEXT = 125 };
enum { LOOK_NS = 20000000 };
enum state { AWAY, CONNECTING, HEAD, OPEN };

struct client {
    int fd;
    enum state state;
    long long due;       /* when to come back, in ns */
    long long offset;    /* of the last event, or of where it began; -1 before */
    char cursor[CURSOR];
    int carry_size;      /* an unfinished frame or head */
    char *carry;
};

static int count, in_flight, return_ms, poller, busy, opened, turn;
static const char *source, *port, *path;
static struct client *clients;
static char buffer[MAX_CARRY + READ];
static long long lost, refused, returned, events, beats, gaps, holes, repeats;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The end of a connection: it comes back after a while. */
static void part(struct client *c)
{
    if (c->state == OPEN)
        opened--, lost++;
    else
        busy--, refused++;
    close(c->fd);
    free(c->carry);
    c->carry = NULL, c->carry_size = 0;
    c->state = AWAY;
    c->due = now_ns() + (long long)(drand48() * return_ms * 1e6);
}

static void connect_one(struct client *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int one = 1;
    inet_pton(AF_INET, source, &from.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); /* a port is drawn at connect() */
    if (bind(c->fd, (void *)&from, sizeof from) || (connect(c->fd, (void *)&to, sizeof to) && errno != EINPROGRESS))
        die("connect");
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl");
    c->state = CONNECTING;
    busy++;
}

/* Connects who is due, as far as handshakes are free. Looks through all of them, so not all the time. */
static void connect_some(void)
{
    static long long next;
    long long now = now_ns();
    if (now < next)
        return;
    next = now + LOOK_NS;
    for (int looked = 0; looked < count && busy < in_flight; looked++, turn = (turn + 1) % count)
        if (clients[turn].state == AWAY && clients[turn].due <= now)
            connect_one(&clients[turn]);
}

static void ask(struct client *c)
{
    char head[512];
    int one = 1, size = snprintf(head, sizeof head,
                                 "GET %s%s%s HTTP/1.1\r\nhost: 127.0.0.1:%s\r\nupgrade: websocket\r\n"
                                 "connection: upgrade\r\nsec-websocket-version: 13\r\n"
                                 "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                 path, *c->cursor ? "?after=" : "", c->cursor, port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = HEAD;
    if (send(c->fd, head, size, MSG_NOSIGNAL) != size)
        part(c);
    else if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event))
        die("epoll_ctl");
}

/* Answers a ping: one frame, masked with four zeros. */
static void pong(struct client *c, const char *p, size_t n)
{
    char frame[6 + MAX_TEXT] = {(char)0x8a, (char)(0x80 | n)};
    memcpy(frame + 6, p, n);
    send(c->fd, frame, 6 + n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Keeps the cursor that stands behind a mark; returns its offset, -1 where there is none. */
static long long keep(struct client *c, const char *p, size_t n, const char *mark)
{
    const char *at = memmem(p, n, mark, strlen(mark)), *stop;
    if (!at)
        return -1;
    at += strlen(mark);
    if (!(stop = memchr(at, '"', p + n - at)) || stop - at >= CURSOR)
        return -1;
    memcpy(c->cursor, at, stop - at);
    c->cursor[stop - at] = 0;
    const char *dot = strrchr(c->cursor, '.');
    return dot ? atoll(dot + 1) : -1;
}

static int is(const char *p, size_t n, const char *type)
{
    size_t size = strlen(type);
    return n > 9 + size && !memcmp(p + 9, type, size);
}

/* A message begins with {"type":" */
static void take_message(struct client *c, const char *p, size_t n)
{
    if (is(p, n, "event\"")) {
        long long offset = keep(c, p, n, "\"id\":\"");
        events++;
        if (c->offset >= 0)
            holes += offset > c->offset + 1, repeats += offset <= c->offset;
        c->offset = offset;
    } else if (is(p, n, "open\"") || is(p, n, "live\"")) {
        long long offset = keep(c, p, n, "\"cursor\":\"");
        if (c->offset >= 0)
            holes += offset > c->offset, repeats += offset < c->offset;
        c->offset = offset;
    } else if (is(p, n, "beat\""))
        beats++;
    else if (is(p, n, "gap\""))
        gaps++;
}

/* Takes whole frames; returns the bytes they took. */
static size_t take_frames(struct client *c, const char *p, size_t n)
{
    size_t at = 0;
    while (n - at >= 2) {
        const unsigned char *f = (const unsigned char *)p + at;
        size_t size = f[1] & 127, head = size == 126 ? 4 : 2;
        if (size == 127)
            die("a frame too large");
        if (n - at < head)
            break;
        if (head == 4)
            size = f[2] << 8 | f[3];
        if (n - at < head + size)
            break;
        if ((f[0] & 15) == 1)
            take_message(c, p + at + head, size);
        else if ((f[0] & 15) == 9 && size <= MAX_TEXT)
            pong(c, p + at + head, size);
        at += head + size;
    }
    return at;
}

static void receive(struct client *c)
{
    size_t had = c->carry_size, at = 0;
    ssize_t got = recv(c->fd, buffer + had, READ, 0);
    if (got <= 0) {
        if (!got || errno != EAGAIN)
            part(c);
        return;
    }
    if (had)
        memcpy(buffer, c->carry, had);
    size_t n = had + got;
    if (c->state == HEAD) {
        char *stop = memmem(buffer, n, "\r\n\r\n", 4);
        if (stop && memcmp(buffer, "HTTP/1.1 101", 12)) {
            part(c);
            return;
        }
        if (stop) {
            at = stop + 4 - buffer;
            c->state = OPEN;
            busy--, opened++;
            returned += *c->cursor != 0;
        }
    }
    if (c->state == OPEN)
        at += take_frames(c, buffer + at, n - at);
    n -= at;
    if (n > MAX_CARRY || (n && !(c->carry = realloc(c->carry, n))))
        die("a message too large");
    if (n)
        memcpy(c->carry, buffer + at, n);
    else
        free(c->carry), c->carry = NULL;
    c->carry_size = n;
}

static void command(void)
{
    char line[64];
    if (!fgets(line, sizeof line, stdin) || !strcmp(line, "quit\n"))
        exit(0);
    printf("{\"open\":%d,\"lost\":%lld,\"refused\":%lld,\"returned\":%lld,\"events\":%lld,\"beats\":%lld,"
           "\"gaps\":%lld,\"holes\":%lld,\"repeats\":%lld}\n",
           opened, lost, refused, returned, events, beats, gaps, holes, repeats);
}

int main(int argc, char **argv)
{
    if (argc != 7 || (count = atoi(argv[4])) < 1) {
        fprintf(stderr, "usage: held SOURCE PORT PATH CLIENTS IN_FLIGHT RETURN_MS\n");
        return 2;
    }
    source = argv[1], port = argv[2], path = argv[3], in_flight = atoi(argv[5]), return_ms = atoi(argv[6]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0);
    clients = calloc(count, sizeof *clients);
    for (int i = 0; i < count; i++)
        clients[i].offset = -1;
    poller = epoll_create1(0);
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &in);
    for (;;) {
        if (busy < in_flight && opened + busy < count)
            connect_some();
        int n = epoll_wait(poller, ready, 256, opened + busy < count ? 10 : -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            if (!c)
                command();
            else if (c->state == CONNECTING)
                ask(c);
            else if (c->state != AWAY)
                receive(c);
        }
    }
}
