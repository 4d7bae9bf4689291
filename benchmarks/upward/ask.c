/* Clients that ask, many on one thread: over WebSocket, or over HTTP/1.1 with keep-alive.
 *
 *     ask PORT ws|http HEAD_FILE MESSAGE_FILE REPLY CLIENTS [CONNECTS_PER_SECOND [SOURCES]]
 *
 * HEAD_FILE has the request that opens a WebSocket (over HTTP it is not looked at); MESSAGE_FILE the text of a message,
 * or a whole request. What is counted as a reply is a message that begins with REPLY, or a whole response whose status
 * is 200, 204 or 304. Connects, 32 at a time or so many a second, from 127.0.0.1, or from SOURCES addresses in turn,
 * 127.0.0.2 and on; prints "ready", and obeys lines on stdin, also before that:
 *
 *     start FLIGHT    each client has FLIGHT messages in flight: for the replies that one read brings, as many messages
 *                     go out in one send()
 *     pace RATE       so many messages a second of all clients together, one after the other, whatever comes back
 *     stop            send no more
 *     report          print a JSON line of counters since the beginning, and of latencies since the last report
 *     quit
 *
 * With "pace", 19 characters behind `"t":` in the message are overwritten with CLOCK_MONOTONIC's nanoseconds; one client
 * in 16 looks for them in what comes. Frames are masked with a mask that is none of zeros.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ = 1 << 16, MAX_CARRY = 1 << 20, MAX_FLIGHT = 64, MAX_MESSAGE = 4096, SAMPLES = 1 << 18, SAMPLED = 16 };
enum { STAMP = 19, IN_FLIGHT = 32 };
enum state { CLOSED, CONNECTING, HEAD, OPEN };

struct client {
    int fd, index;
    enum state state;
    size_t carry_size; /* an unfinished frame or head, kept for the next read */
    char *carry;
};

static int http, count, sources, poller, started, opened, closed, flight;
static const char *port, *reply;
static struct client *clients;
static char buffer[MAX_CARRY + READ], head[MAX_MESSAGE], batch[MAX_FLIGHT * MAX_MESSAGE];
static size_t head_size, message_size, stamp_at;
static unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
static long long replies, others, bytes, reads, sent, sends, connect_gap, connect_due, gap, due;
static unsigned samples[SAMPLES], sampled; /* latencies in microseconds */

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

static size_t read_file(const char *name, char *into)
{
    FILE *file = fopen(name, "rb");
    if (!file)
        die(name);
    size_t size = fread(into, 1, MAX_MESSAGE - 8, file);
    fclose(file);
    return size;
}

/* Makes the message as it goes out, as often as there may be in flight. */
static void make_batch(const char *name)
{
    char text[MAX_MESSAGE];
    size_t size = read_file(name, text), at = 0;
    char *mark = memmem(text, size, "\"t\":", 4);
    if (!http) {
        batch[at++] = (char)0x81;
        if (size > 125) {
            batch[at++] = (char)0xfe, batch[at++] = (char)(size >> 8);
            batch[at++] = (char)size;
        } else
            batch[at++] = (char)(0x80 | size);
        memcpy(batch + at, mask, 4);
        at += 4;
    }
    stamp_at = mark ? at + (mark + 4 - text) : 0;
    for (size_t i = 0; i < size; i++)
        batch[at + i] = http ? text[i] : text[i] ^ mask[i & 3];
    message_size = at + size;
    for (int i = 1; i < MAX_FLIGHT; i++)
        memcpy(batch + i * message_size, batch, message_size);
}

/* --- sending */

static void say(struct client *c, int messages)
{
    for (int n; messages > 0; messages -= n) {
        n = messages < MAX_FLIGHT ? messages : MAX_FLIGHT;
        size_t size = n * message_size;
        if (send(c->fd, batch, size, MSG_NOSIGNAL) != (ssize_t)size)
            die("send");
        sent += n, sends++;
    }
}

/* One message of the next client, with the time in it. */
static void say_next(void)
{
    static int turn;
    char stamp[STAMP + 1];
    struct client *c = &clients[turn++ % count];
    size_t text_at = http ? 0 : message_size > 131 ? 8 : 6;
    if (c->state != OPEN)
        return;
    snprintf(stamp, sizeof stamp, "%*lld", STAMP, now_ns());
    for (int i = 0; stamp_at && i < STAMP; i++)
        batch[stamp_at + i] = http ? stamp[i] : stamp[i] ^ mask[(stamp_at + i - text_at) & 3];
    say(c, 1);
}

static void pong(struct client *c, const char *p, size_t n)
{
    char frame[6 + 125] = {(char)0x8a, (char)(0x80 | n)}; /* masked with zeros */
    memcpy(frame + 6, p, n);
    if (send(c->fd, frame, 6 + n, MSG_NOSIGNAL) < 0)
        die("pong");
}

/* --- connecting */

static void connect_next(void)
{
    struct client *c = &clients[started];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))}, from = {.sin_family = AF_INET};
    int one = 1;
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .index = started, .state = CONNECTING};
    if (c->fd < 0)
        die("socket");
    if (sources) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); /* a port is drawn at connect() */
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + started % sources);
        if (bind(c->fd, (void *)&from, sizeof from))
            die("bind");
    }
    started++;
    if (connect(c->fd, (void *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect");
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl");
}

static void open_client(struct client *c)
{
    c->state = OPEN;
    if (++opened == count)
        printf("ready\n");
    if (flight)
        say(c, flight);
    if (!connect_gap && started < count)
        connect_next();
}

static void connected(struct client *c)
{
    int one = 1, error = 0;
    socklen_t size = sizeof error;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
        errno = error;
        die("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event))
        die("epoll_ctl");
    c->state = HEAD;
    if (http)
        open_client(c);
    else if (send(c->fd, head, head_size, MSG_NOSIGNAL) != (ssize_t)head_size)
        die("head");
}

static void end(struct client *c)
{
    if (c->state != OPEN) {
        fprintf(stderr, "a connection was closed before it was accepted\n");
        exit(1);
    }
    close(c->fd);
    free(c->carry);
    *c = (struct client){.fd = -1, .index = c->index};
    closed++;
}

/* --- what comes back */

static int starts(const char *p, size_t n, const char *text)
{
    size_t size = strlen(text);
    return n >= size && !memcmp(p, text, size);
}

static void sample(struct client *c, const char *p, size_t n)
{
    char *mark;
    if (!gap || c->index % SAMPLED || sampled == SAMPLES || !(mark = memmem(p, n, "\"t\":", 4)))
        return;
    for (mark += 4; mark < p + n && (*mark == ' ' || *mark == '"'); mark++)
        ;
    long long now = now_ns(), then = atoll(mark);
    samples[sampled++] = now > then ? (now - then) / 1000 : 0;
}

/* Takes whole frames; returns the bytes they took. */
static size_t take_frames(struct client *c, const char *p, size_t n, int *found)
{
    size_t at = 0;
    while (n - at >= 2) {
        const unsigned char *f = (const unsigned char *)p + at;
        size_t size = f[1] & 127, skip = size == 126 ? 4 : size == 127 ? 10 : 2;
        if (n - at < skip)
            break;
        if (skip > 2)
            size = 0;
        for (size_t i = 2; i < skip; i++)
            size = size << 8 | f[i];
        if (n - at < skip + size)
            break;
        int code = f[0] & 15;
        if (code <= 2 && starts(p + at + skip, size, reply)) {
            ++*found;
            sample(c, p + at + skip, size);
        } else {
            others++;
            if (code == 9 && size <= 125)
                pong(c, p + at + skip, size);
        }
        at += skip + size;
    }
    return at;
}

/* Takes whole responses, which say their length; returns the bytes they took. */
static size_t take_responses(const char *p, size_t n, int *found)
{
    size_t at = 0;
    for (;;) {
        const char *from = p + at, *stop = memmem(from, n - at, "\r\n\r\n", 4);
        size_t size = 0;
        if (!stop)
            return at;
        int status = n - at > 12 ? atoi(from + 9) : 0;
        if (!starts(from, n - at, "HTTP/1.1 ") || (status != 200 && status != 204 && status != 304)) {
            fprintf(stderr, "refused: %.*s\n", (int)(stop - from), from);
            exit(1);
        }
        for (const char *line = from; line < stop && status == 200; line++) {
            if (!strncasecmp(line, "content-length:", 15))
                size = atoll(line + 15);
            if (!(line = memchr(line, '\n', stop - line)))
                break;
        }
        size += stop + 4 - from;
        if (n - at < size)
            return at;
        at += size;
        ++*found;
    }
}

/* Looks for the end of the handshake's answer; returns its size, 0 while it is not whole. */
static size_t take_head(struct client *c, const char *p, size_t n)
{
    const char *stop = memmem(p, n, "\r\n\r\n", 4);
    if (!stop)
        return 0;
    if (!starts(p, n, "HTTP/1.1 101")) {
        fprintf(stderr, "refused: %.*s\n", (int)(stop - p), p);
        exit(1);
    }
    open_client(c);
    return stop + 4 - p;
}

static void receive(struct client *c)
{
    size_t had = c->carry_size, at = 0;
    int found = 0;
    ssize_t got = recv(c->fd, buffer + had, READ, 0);
    if (got <= 0) {
        if (!got || errno != EAGAIN)
            end(c);
        return;
    }
    if (had)
        memcpy(buffer, c->carry, had);
    size_t n = had + got;
    reads++;
    bytes += got;
    if (c->state == HEAD)
        at = take_head(c, buffer, n);
    if (c->state == OPEN)
        at += http ? take_responses(buffer, n, &found) : take_frames(c, buffer + at, n - at, &found);
    n -= at;
    if (n > MAX_CARRY || (n && !(c->carry = realloc(c->carry, n))))
        die("an answer too large");
    if (n)
        memcpy(c->carry, buffer + at, n);
    c->carry_size = n;
    replies += found;
    if (flight && found)
        say(c, found);
}

/* --- obeying */

static int by_size(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

static void report(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    long long cpu = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000000LL +
                    (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000LL;
    qsort(samples, sampled, sizeof *samples, by_size);
    printf("{\"clients\":%d,\"closed\":%d,\"replies\":%lld,\"others\":%lld,\"sent\":%lld,\"sends\":%lld,"
           "\"bytes\":%lld,\"reads\":%lld,\"cpu_ns\":%lld,\"now_ns\":%lld,\"p50_us\":%u,\"p99_us\":%u}\n",
           opened - closed, closed, replies, others, sent, sends, bytes, reads, cpu, now_ns(),
           sampled ? samples[sampled / 2] : 0, sampled ? samples[sampled * 99LL / 100] : 0);
    sampled = 0;
}

static void command(void)
{
    char line[64];
    double rate;
    if (!fgets(line, sizeof line, stdin) || !strcmp(line, "quit\n"))
        exit(0);
    if (sscanf(line, "start %d", &flight) == 1) {
        for (int i = 0; i < started; i++)
            if (clients[i].state == OPEN)
                say(&clients[i], flight);
    } else if (sscanf(line, "pace %lf", &rate) == 1)
        gap = 1e9 / rate, due = now_ns();
    else if (!strcmp(line, "stop\n"))
        flight = 0, gap = 0;
    else if (!strcmp(line, "report\n"))
        report();
}

/* Does what is due now; returns the milliseconds until something is again, -1 for never. */
static int act(void)
{
    long long now = now_ns(), next = 0;
    for (; connect_gap && started < count && connect_due <= now; connect_due += connect_gap)
        connect_next();
    for (; gap && due <= now; due += gap)
        say_next();
    if (connect_gap && started < count)
        next = connect_due;
    if (gap && (!next || due < next))
        next = due;
    return !next ? -1 : next > now ? (next - now + 999999) / 1000000 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 7 || argc > 9 || (count = atoi(argv[6])) < 1)
        return fprintf(stderr, "usage: ask PORT ws|http HEAD_FILE MESSAGE_FILE REPLY CLIENTS [RATE [SOURCES]]\n"), 2;
    port = argv[1], http = !strcmp(argv[2], "http"), reply = argv[5];
    if (argc > 7 && atof(argv[7]) > 0)
        connect_gap = 1e9 / atof(argv[7]), connect_due = now_ns();
    sources = argc > 8 ? atoi(argv[8]) : 0;
    head_size = read_file(argv[3], head);
    make_batch(argv[4]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0); /* or epoll would not see a line that stdio has already taken */
    clients = calloc(count, sizeof *clients);
    poller = epoll_create1(0);
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &in);
    while (!connect_gap && started < count && started < IN_FLIGHT)
        connect_next();
    for (;;) {
        int n = epoll_wait(poller, ready, 256, act());
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            if (!c)
                command();
            else if (c->state == CONNECTING)
                connected(c);
            else if (c->state != CLOSED)
                receive(c);
        }
    }
}
