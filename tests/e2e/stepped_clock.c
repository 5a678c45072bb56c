/*
 * Preloaded into a process: its wall clock is ahead by the number of seconds in the file that
 * STEPPED_CLOCK_FILE names (a native 64-bit integer), which may change at any time. Its monotonic
 * clock stays. STEPPED_CLOCK_OF: only where the command line has this argument;
 * STEPPED_CLOCK_NOT_OF: only where it has not.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *ahead;
static int looked;

static int has(const char *line, size_t length, const char *name) {
    const char *word = getenv(name);
    for (const char *at = line; word && at < line + length; at += strlen(at) + 1)
        if (!strcmp(at, word)) return 1;
    return 0;
}

static int is_meant(void) {
    static char line[65536];
    int file = open("/proc/self/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (file >= 0) close(file);
    if (length <= 0) return 0;
    if (getenv("STEPPED_CLOCK_OF") && !has(line, (size_t)length, "STEPPED_CLOCK_OF")) return 0;
    return !has(line, (size_t)length, "STEPPED_CLOCK_NOT_OF");
}

static int64_t offset(void) {
    if (!looked) {
        const char *path = getenv("STEPPED_CLOCK_FILE");
        int file = path && is_meant() ? open(path, O_RDONLY) : -1;
        if (file >= 0) {
            void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
            close(file);
            if (page != MAP_FAILED) ahead = page;
        }
        looked = 1;
    }
    return ahead ? *ahead : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result) *result = exact.tv_sec;
    return exact.tv_sec;
}
