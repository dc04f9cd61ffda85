/* What a machine does to a process, laid between it and the C library (LD_PRELOAD) by faults.rs:
 * a disk whose power fails, a disk that fails to sync, a clock that is wrong.
 *
 * FAULTS_POWER=1   what is written to a journal stays here until it is synced, so a process that
 *                  is killed loses it, as a machine does whose power fails.
 * FAULTS_SYNC=FILE while FILE exists, syncing a journal fails.
 * FAULTS_CLOCK=FILE the wall clock shows as many milliseconds more as the first eight bytes of
 *                  FILE say (signed, in the machine's own order); they may change at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 1024

static struct {
    char *bytes;
    size_t length, room;
} kept[FILES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*next_write)(int, const void *, size_t);
static int (*next_fdatasync)(int), (*next_fsync)(int), (*next_close)(int);
static int (*next_clock)(clockid_t, struct timespec *);
static const volatile int64_t *ahead_ms;
static int power;
static const char *no_sync;

__attribute__((constructor)) static void begin(void) {
    next_write = dlsym(RTLD_NEXT, "write");
    next_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    next_fsync = dlsym(RTLD_NEXT, "fsync");
    next_close = dlsym(RTLD_NEXT, "close");
    next_clock = dlsym(RTLD_NEXT, "clock_gettime");
    power = getenv("FAULTS_POWER") != NULL;
    no_sync = getenv("FAULTS_SYNC");
    const char *clock = getenv("FAULTS_CLOCK");
    if (clock) {
        int fd = open(clock, O_RDONLY);
        void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) abort();
        ahead_ms = map;
    }
}

static int is_journal(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return fd < FILES_MAX && length > 4 && memcmp(path + length - 4, ".jnl", 4) == 0;
}

static int let_go(int fd) {
    size_t done = 0;
    while (done < kept[fd].length) {
        ssize_t count = next_write(fd, kept[fd].bytes + done, kept[fd].length - done);
        if (count < 0) return -1;
        done += (size_t)count;
    }
    kept[fd].length = 0;
    return 0;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!power || !is_journal(fd)) return next_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    if (kept[fd].length + length > kept[fd].room) {
        kept[fd].room = 2 * (kept[fd].length + length);
        kept[fd].bytes = realloc(kept[fd].bytes, kept[fd].room);
        if (!kept[fd].bytes) abort();
    }
    memcpy(kept[fd].bytes + kept[fd].length, bytes, length);
    kept[fd].length += length;
    pthread_mutex_unlock(&lock);
    return (ssize_t)length;
}

/* A sync is of a file, whoever has written to it. */
static int let_go_of_file(int fd) {
    struct stat file, other;
    if (fstat(fd, &file)) return -1;
    for (int i = 0; i < FILES_MAX; i++)
        if (kept[i].length && !fstat(i, &other) && other.st_dev == file.st_dev &&
            other.st_ino == file.st_ino && let_go(i))
            return -1;
    return 0;
}

static int synced(int fd, int (*next)(int)) {
    if (is_journal(fd)) {
        if (no_sync && access(no_sync, F_OK) == 0) {
            errno = EIO;
            return -1;
        }
        pthread_mutex_lock(&lock);
        int failed = let_go_of_file(fd);
        pthread_mutex_unlock(&lock);
        if (failed) return -1;
    }
    return next(fd);
}

int fdatasync(int fd) { return synced(fd, next_fdatasync); }

int fsync(int fd) { return synced(fd, next_fsync); }

/* A file that is closed without having been synced is lost too. */
int close(int fd) {
    if (fd >= 0 && fd < FILES_MAX) {
        pthread_mutex_lock(&lock);
        kept[fd].length = 0;
        pthread_mutex_unlock(&lock);
    }
    return next_close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int failed = next_clock(clock, out);
    if (!failed && clock == CLOCK_REALTIME && ahead_ms) {
        int64_t ms = out->tv_sec * 1000 + out->tv_nsec / 1000000 + *ahead_ms;
        out->tv_sec = ms / 1000;
        out->tv_nsec = ms % 1000 * 1000000 + out->tv_nsec % 1000000;
    }
    return failed;
}
