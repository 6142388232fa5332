/* Preloaded into a server: records in their order what it writes to one database and when it makes that durable, and
   can say that the disk is full.

   RECORD_DATABASE is the database's path, RECORD_LOG the file that records go to; while a file RECORD_FULL exists, nothing
   more can be stored. A record is: kind ('w' write, 't' truncate, 's' synced, 'u' unlinked), file (0 database, 1 its
   write-ahead log, 2 its journal), six bytes of nothing, offset and length as 8 bytes each, and for a write its bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_file = -1;

static int which(const char *path) {
    const char *database = getenv("RECORD_DATABASE");
    size_t length;
    if (!database) return -1;
    length = strlen(database);
    if (strncmp(path, database, length)) return -1;
    if (!path[length]) return 0;
    if (!strcmp(path + length, "-wal")) return 1;
    if (!strcmp(path + length, "-journal")) return 2;
    return -1;
}

static int watched(int fd) {
    char link[64], path[4096];
    ssize_t length;
    if (fd < 3) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return which(path);
}

static int full(void) {
    const char *flag = getenv("RECORD_FULL");
    return flag && !access(flag, F_OK);
}

static void record(char kind, int file, uint64_t offset, uint64_t length, const void *bytes) {
    char head[24] = {kind, (char)file};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, bytes ? length : 0}};
    if (log_file < 0) log_file = open(getenv("RECORD_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    memcpy(head + 8, &offset, 8);
    memcpy(head + 16, &length, 8);
    if (writev(log_file, parts, 2) < (ssize_t)(sizeof head + parts[1].iov_len)) abort();
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITE_AT(name, offset_type) \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
        int file = watched(fd), saved; \
        ssize_t done; \
        if (file < 0) return real(fd, bytes, length, offset); \
        if (full()) { errno = ENOSPC; return -1; } \
        pthread_mutex_lock(&lock); \
        done = real(fd, bytes, length, offset); \
        saved = errno; \
        if (done > 0) record('w', file, (uint64_t)offset, (uint64_t)done, bytes); \
        errno = saved; \
        pthread_mutex_unlock(&lock); \
        return done; \
    }

WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int file = watched(fd), saved;
    ssize_t done;
    off_t offset;
    if (file < 0) return real(fd, bytes, length);
    if (full()) { errno = ENOSPC; return -1; }
    pthread_mutex_lock(&lock);
    offset = lseek(fd, 0, SEEK_CUR);
    done = real(fd, bytes, length);
    saved = errno;
    if (done > 0) record('w', file, (uint64_t)offset, (uint64_t)done, bytes);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return done;
}

#define TRUNCATE(name, length_type) \
    int name(int fd, length_type length) { \
        REAL(int, #name, int, length_type); \
        int file = watched(fd), done, saved; \
        if (file < 0) return real(fd, length); \
        pthread_mutex_lock(&lock); \
        done = real(fd, length); \
        saved = errno; \
        if (!done) record('t', file, 0, (uint64_t)length, 0); \
        errno = saved; \
        pthread_mutex_unlock(&lock); \
        return done; \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int fd) { \
        REAL(int, #name, int); \
        int file = watched(fd), done, saved; \
        if (file < 0) return real(fd); \
        pthread_mutex_lock(&lock); \
        done = real(fd); \
        saved = errno; \
        if (!done) record('s', file, 0, 0, 0); \
        errno = saved; \
        pthread_mutex_unlock(&lock); \
        return done; \
    }

SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    int file = which(path), done, saved;
    if (file < 0) return real(path);
    pthread_mutex_lock(&lock);
    done = real(path);
    saved = errno;
    if (!done) record('u', file, 0, 0, 0);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return done;
}
