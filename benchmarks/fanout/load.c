/* The load: many clients on one thread, which count what they are sent.
 *
 *     load HOST PORT PATH ws|sse|socketio|tokens CLIENTS [IN_FLIGHT [FOLLOWS [SHARING]]]
 *
 * Connects, IN_FLIGHT handshakes at a time (32), prints "ready", and then obeys lines on stdin:
 *
 *     report     print a JSON line of counters since the beginning, and of latencies since the last report
 *     samples    print the latencies since the last report, in microseconds, as a JSON array
 *     follow     on WebSockets of Triolet's: each client follows FOLLOWS channels of its own, /events/c0 and on
 *     stall      read nothing more, and only notice connections that are reset
 *     quit
 *
 * Every frame and every event block is parsed, none is guessed from bytes. An event whose data has `"t":` and
 * CLOCK_MONOTONIC's nanoseconds gives a latency; one client in 16 looks for it. Socket.IO is spoken over its own
 * WebSocket transport only: 40 to connect, 2 answered by 3, 42 for an event.
 *
 * A * in PATH stands for a number: SHARING clients after each other have the same one, 0 and on. "tokens" is an event
 * stream whose events are the text "#NUMBER NANOSECONDS ", with or without JSON's quotes: each client must be sent the
 * numbers from 1 on, and what does not follow the one before is "disordered". Of each client one token in 16 gives a latency.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

enum { READ = 1 << 16, MAX_CARRY = 1 << 20, SAMPLES = 1 << 20, SAMPLED = 16, MAX_TEXT = 125 };
enum state { CLOSED, CONNECTING, HEAD, OPEN };
enum kind { WS, SSE, SOCKETIO, TOKENS };
enum chunk { SIZE, BODY, END };

struct client {
    int fd, index;
    enum state state;
    int chunked;
    enum chunk chunk;    /* where in a chunked body the next byte is */
    size_t chunk_left;   /* bytes of this chunk still to come; while in SIZE, what was read of the size */
    long long number;    /* of the last token */
    size_t carry_size;   /* an unfinished frame, event or head, kept for the next read */
    char *carry;
};

static enum kind kind;
static int count, in_flight = 32, follows, sharing = 1, stalled, poller, started, opened, closed;
static const char *host, *port, *path;
static struct client *clients;
static char buffer[MAX_CARRY + READ];
static long long events, disordered, beats, gaps, others, bytes, reads;
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

static int is_stream(void)
{
    return kind == SSE || kind == TOKENS;
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

/* --- what was sent */

static int starts(const char *p, size_t n, const char *text)
{
    size_t size = strlen(text);
    return n >= size && !memcmp(p, text, size);
}

/* Reads a number, behind blanks; returns where it ends. */
static const char *take_number(const char *p, const char *stop, long long *number)
{
    for (*number = 0; p < stop && *p == ' '; p++)
        ;
    for (; p < stop && *p >= '0' && *p <= '9'; p++)
        *number = *number * 10 + (*p - '0');
    return p;
}

static void sample_since(long long then)
{
    if (sampled == SAMPLES)
        return;
    long long now = now_ns();
    samples[sampled++] = now > then ? (now - then) / 1000 : 0;
}

static void sample(struct client *c, const char *p, size_t n)
{
    const char *mark = c->index % SAMPLED ? NULL : memmem(p, n, "\"t\":", 4);
    long long then;
    if (!mark)
        return;
    take_number(mark + 4, p + n, &then);
    sample_since(then);
}

static void take_token(struct client *c, const char *p, size_t n)
{
    const char *mark = memchr(p, '#', n);
    long long number = 0, then = 0;
    if (mark)
        take_number(take_number(mark + 1, p + n, &number), p + n, &then);
    disordered += number != c->number + 1;
    c->number = number;
    if ((c->index + number) % SAMPLED == 0)
        sample_since(then);
}

/* Sends one frame, masked with four zeros: the bytes stay as they are. */
static void say(struct client *c, int code, const char *p, size_t n)
{
    char frame[6 + MAX_TEXT] = {(char)(0x80 | code), (char)(0x80 | n)};
    memcpy(frame + 6, p, n);
    if (send(c->fd, frame, 6 + n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        die("say");
}

static void connect_next(void);

static void admitted(void)
{
    if (++opened == count)
        printf("ready\n");
    if (started < count)
        connect_next();
}

static void count_packet(struct client *c, const char *p, size_t n)
{
    if (starts(p, n, "42")) {
        events++;
        sample(c, p, n);
    } else if (starts(p, n, "2")) {
        beats++;
        say(c, 1, "3", 1);
    } else {
        others++;
        if (starts(p, n, "0"))
            say(c, 1, "40", 2);
        else if (starts(p, n, "40"))
            admitted();
    }
}

static void count_message(struct client *c, const char *p, size_t n)
{
    if (kind == SOCKETIO)
        count_packet(c, p, n);
    else if (starts(p, n, "{\"type\":\"event\"")) {
        events++;
        sample(c, p, n);
    } else if (starts(p, n, "{\"type\":\"beat\""))
        beats++;
    else if (starts(p, n, "{\"type\":\"gap\""))
        gaps++;
    else
        others++;
}

/* Counts whole WebSocket frames; returns the bytes they took. */
static size_t take_frames(struct client *c, const char *p, size_t n)
{
    size_t at = 0;
    while (n - at >= 2) {
        const unsigned char *f = (const unsigned char *)p + at;
        size_t size = f[1] & 127, head = size == 126 ? 4 : size == 127 ? 10 : 2;
        if (n - at < head)
            break;
        if (head == 4)
            size = f[2] << 8 | f[3];
        for (size_t i = 2, long_size = 0; head == 10 && i < 10; i++)
            size = long_size = long_size << 8 | f[i];
        if (n - at < head + size)
            break;
        int code = f[0] & 15;
        if (code == 1)
            count_message(c, p + at + head, size);
        else if (code == 9 && size <= MAX_TEXT)
            say(c, 10, p + at + head, size);
        else
            others++;
        at += head + size;
    }
    return at;
}

/* Counts whole blocks of an event stream; returns the bytes they took. An event is a block that has data and a
 * name that is not one of Triolet's own. */
static size_t take_blocks(struct client *c, const char *p, size_t n)
{
    const char *block = p, *line = p, *stop = p + n, *name = NULL, *data = NULL, *next;
    for (; (next = memchr(line, '\n', stop - line)); line = next + 1) {
        size_t size = next - line;
        if (size && line[size - 1] == '\r') /* sse-starlette ends its lines so */
            size--;
        if (starts(line, size, "event: "))
            name = line + 7;
        else if (starts(line, size, "data: "))
            data = line;
        if (size)
            continue;
        if (!data)
            others++;
        else if (!name || !starts(name, next - name, "triolet.")) {
            events++;
            (kind == TOKENS ? take_token : sample)(c, data, next - data);
        } else if (starts(name, next - name, "triolet.beat"))
            beats++;
        else if (starts(name, next - name, "triolet.gap"))
            gaps++;
        else
            others++;
        block = next + 1, name = data = NULL;
    }
    return block - p;
}

/* Takes the framing out of a chunked body, in place; returns the bytes of body that are left. */
static size_t unchunk(struct client *c, char *p, size_t n)
{
    size_t in = 0, out = 0;
    while (in < n) {
        if (c->chunk == BODY) {
            size_t take = n - in < c->chunk_left ? n - in : c->chunk_left;
            memmove(p + out, p + in, take);
            in += take, out += take, c->chunk_left -= take;
            if (!c->chunk_left)
                c->chunk = END;
            continue;
        }
        char byte = p[in++];
        if (c->chunk == END) { /* CR, LF */
            if (byte == '\n')
                c->chunk = SIZE;
        } else if (byte == '\n')
            c->chunk = c->chunk_left ? BODY : END;
        else if (byte != '\r')
            c->chunk_left = c->chunk_left << 4 | (byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
    }
    return out;
}

/* --- connecting */

static void connect_next(void)
{
    struct client *c = &clients[started];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &to.sin_addr);
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .index = started++};
    c->state = CONNECTING;
    if (c->fd < 0 || (connect(c->fd, (void *)&to, sizeof to) && errno != EINPROGRESS))
        die("connect");
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl");
}

static void ask(struct client *c)
{
    char head[1024], number[16] = "";
    const char *mark = strchr(path, '*');
    int before = mark ? (int)(mark - path) : (int)strlen(path);
    if (mark)
        snprintf(number, sizeof number, "%d", c->index / sharing);
    const char *more = is_stream() ? "accept: text/event-stream\r\n"
                                   : "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
                                     "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    int size = snprintf(head, sizeof head, "GET %.*s%s%s HTTP/1.1\r\nhost: %s:%s\r\n%s\r\n", before, path, number,
                        mark ? mark + 1 : "", host, port, more);
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(c->fd, head, size, MSG_NOSIGNAL) != size || epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event))
        die("ask");
    c->state = HEAD;
}

/* Looks for the end of the response's head; returns its size, 0 while it is not whole. */
static size_t take_head(struct client *c, char *p, size_t n)
{
    char *stop = memmem(p, n, "\r\n\r\n", 4);
    if (!stop)
        return 0;
    if (!starts(p, n, is_stream() ? "HTTP/1.1 200" : "HTTP/1.1 101")) {
        fprintf(stderr, "refused: %.*s\n", (int)(stop - p), p);
        exit(1);
    }
    *stop = 0;
    c->chunked = is_stream() && strcasestr(p, "transfer-encoding: chunked");
    c->state = OPEN;
    if (kind != SOCKETIO)
        admitted();
    return stop + 4 - p;
}

/* --- reading */

static void receive(struct client *c)
{
    size_t had = c->carry_size, at = 0;
    ssize_t got = recv(c->fd, buffer + had, READ, 0);
    if (got <= 0) {
        if (!got || errno != EAGAIN)
            end(c);
        return;
    }
    if (had)
        memcpy(buffer, c->carry, had);
    c->carry_size = 0;
    reads++;
    bytes += got;
    if (c->state == HEAD) {
        at = take_head(c, buffer, had + got);
        if (at) /* what follows the head has not been looked at */
            got = had + got - at, had = 0;
    }
    char *p = buffer + at;
    size_t n = had + got;
    if (c->state == OPEN) {
        if (c->chunked)
            n = had + unchunk(c, p + had, got);
        at = is_stream() ? take_blocks(c, p, n) : take_frames(c, p, n);
        p += at, n -= at;
    }
    if (n > MAX_CARRY || (n && !(c->carry = realloc(c->carry, n))))
        die("a frame too large");
    if (n)
        memcpy(c->carry, p, n);
    c->carry_size = n;
}

/* --- reporting */

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
    printf("{\"clients\":%d,\"closed\":%d,\"events\":%lld,\"disordered\":%lld,\"beats\":%lld,\"gaps\":%lld,\"others\":%lld,"
           "\"bytes\":%lld,\"reads\":%lld,\"cpu_ns\":%lld,\"now_ns\":%lld,"
           "\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
           opened - closed, closed, events, disordered, beats, gaps, others, bytes, reads, cpu, now_ns(),
           sampled ? samples[sampled / 2] : 0, sampled ? samples[sampled * 99LL / 100] : 0,
           sampled ? samples[sampled - 1] : 0);
    sampled = 0;
}

static void print_samples(void)
{
    printf("[");
    for (unsigned i = 0; i < sampled; i++)
        printf(i ? ",%u" : "%u", samples[i]);
    printf("]\n");
    sampled = 0;
}

static void follow(void)
{
    char text[MAX_TEXT];
    for (int i = 0; i < count; i++)
        for (int j = 0; j < follows; j++)
            say(&clients[i], 1, text,
                snprintf(text, sizeof text, "{\"type\":\"follow\",\"url\":\"/events/c%d\"}", i * follows + j));
}

static void stall(void)
{
    stalled = 1;
    for (int i = 0; i < count; i++) {
        struct epoll_event none = {.events = 0, .data.ptr = &clients[i]};
        if (clients[i].state == OPEN && epoll_ctl(poller, EPOLL_CTL_MOD, clients[i].fd, &none))
            die("epoll_ctl");
    }
}

static void command(void)
{
    char line[64];
    if (!fgets(line, sizeof line, stdin) || !strcmp(line, "quit\n"))
        exit(0);
    if (!strcmp(line, "report\n"))
        report();
    else if (!strcmp(line, "samples\n"))
        print_samples();
    else if (!strcmp(line, "follow\n"))
        follow();
    else if (!strcmp(line, "stall\n"))
        stall();
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 9 || (count = atoi(argv[5])) < 1) {
        fprintf(stderr, "usage: load HOST PORT PATH ws|sse|socketio|tokens CLIENTS [IN_FLIGHT [FOLLOWS [SHARING]]]\n");
        return 2;
    }
    host = argv[1], port = argv[2], path = argv[3];
    kind = !strcmp(argv[4], "sse")        ? SSE
           : !strcmp(argv[4], "socketio") ? SOCKETIO
           : !strcmp(argv[4], "tokens")   ? TOKENS
                                          : WS;
    in_flight = argc > 6 ? atoi(argv[6]) : in_flight;
    follows = argc > 7 ? atoi(argv[7]) : 0;
    sharing = argc > 8 ? atoi(argv[8]) : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0);
    clients = calloc(count, sizeof *clients);
    poller = epoll_create1(0);
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &in);
    while (started < count && started < in_flight)
        connect_next();
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            if (!c)
                command();
            else if (c->state == CONNECTING)
                ask(c);
            else if (stalled && c->state == OPEN)
                end(c);
            else if (c->state != CLOSED)
                receive(c);
        }
    }
}
