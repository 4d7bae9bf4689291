/* The limit: a bare loop of send().
 *
 *     sender ws|sse CLIENTS FRAME_FILE
 *
 * Takes CLIENTS connections on a loopback port (printed first: "port N"), answers each handshake with fixed
 * bytes, prints "ready", and then obeys lines on stdin:
 *
 *     start ROUNDS_PER_SECOND BATCH    send the frame, BATCH times in one send(), to every client each round;
 *                                      0 rounds per second: as fast as send() goes
 *     stop                             end after the round that is being sent
 *     report                           print a JSON line of counters since the beginning
 *     quit
 *
 * In the frame, the 19 characters after `"t":` are overwritten with CLOCK_MONOTONIC's nanoseconds each round.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STAMP = 19, MAX_BATCH = 256, MAX_FRAME = 4096 };

/* The answer to the key that load.c sends (the sample of RFC 6455 section 1.3). */
static const char WS_ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                                "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char SSE_ANSWER[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                 "transfer-encoding: chunked\r\n\r\n";

static int clients, *sockets;
static char frame[MAX_FRAME], batch[MAX_FRAME * MAX_BATCH];
static size_t frame_size, stamp_at;
static long long rounds, events;

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

static long long cpu_ns(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000000LL +
           (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000LL;
}

static void read_frame(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    frame_size = fread(frame, 1, sizeof frame, file);
    fclose(file);
    char *mark = memmem(frame, frame_size, "\"t\":", 4);
    if (!mark) {
        fprintf(stderr, "%s has no \"t\":\n", path);
        exit(1);
    }
    stamp_at = mark + 4 - frame;
}

static void accept_clients(int sse)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (void *)&address, size) || listen(listener, 1024) ||
        getsockname(listener, (void *)&address, &size))
        die("listen");
    printf("port %d\n", ntohs(address.sin_port));
    const char *answer = sse ? SSE_ANSWER : WS_ANSWER;
    for (int i = 0; i < clients; i++) {
        char head[4096];
        size_t have = 0;
        int s = sockets[i] = accept(listener, NULL, NULL);
        if (s < 0)
            die("accept");
        while (have < sizeof head && !memmem(head, have, "\r\n\r\n", 4)) {
            ssize_t n = read(s, head + have, sizeof head - have);
            if (n <= 0)
                die("handshake");
            have += n;
        }
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (send(s, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            die("answer");
    }
    close(listener);
    printf("ready\n");
}

static void send_round(int copies)
{
    char stamp[STAMP + 1];
    snprintf(stamp, sizeof stamp, "%*lld", STAMP, now_ns());
    for (int i = 0; i < copies; i++)
        memcpy(batch + i * frame_size + stamp_at, stamp, STAMP);
    for (int i = 0; i < clients; i++)
        if (send(sockets[i], batch, frame_size * copies, MSG_NOSIGNAL) < 0)
            die("send");
    rounds++;
    events += copies;
}

/* Sends until a line comes in. */
static void run(double pace, int copies)
{
    struct pollfd in = {.fd = 0, .events = POLLIN};
    long long start = now_ns();
    for (int i = 0; i < copies; i++)
        memcpy(batch + i * frame_size, frame, frame_size);
    for (long long round = 1;; round++) {
        send_round(copies);
        long long wait = pace > 0 ? start + (long long)(round * 1e9 / pace) - now_ns() : 0;
        struct timespec pause = {.tv_sec = wait > 0 ? wait / 1000000000 : 0,
                                 .tv_nsec = wait > 0 ? wait % 1000000000 : 0};
        if (ppoll(&in, 1, &pause, NULL) > 0)
            return;
    }
}

int main(int argc, char **argv)
{
    char line[128];
    if (argc != 4 || (clients = atoi(argv[2])) < 1)
        return fprintf(stderr, "usage: sender ws|sse CLIENTS FRAME_FILE\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0); /* or poll() would not see a line that stdio has already taken */
    sockets = calloc(clients, sizeof *sockets);
    read_frame(argv[3]);
    accept_clients(!strcmp(argv[1], "sse"));
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n")) {
        double pace;
        int copies;
        if (sscanf(line, "start %lf %d", &pace, &copies) == 2 && copies >= 1 && copies <= MAX_BATCH)
            run(pace, copies);
        else if (!strcmp(line, "report\n"))
            printf("{\"rounds\":%lld,\"published\":%lld,\"cpu_ns\":%lld}\n", rounds, events, cpu_ns());
    }
    return 0;
}
