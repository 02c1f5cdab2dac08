/* Makes writes and syncs of some files fail, as a full or a dying disk would. Preloaded into a role by a test.
 *
 * FAULT_PREFIX  paths that begin so are meant
 * FAULT_FLAG    while this file exists, what it holds is what happens to them:
 *               ENOSPC  nothing can be written          (write, pwrite, ftruncate)
 *               EIO     nothing can be forced to disk   (fsync, fdatasync)
 *               EWRITE  nothing can be written, with EIO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault { NONE, NO_SPACE, NO_SYNC, NO_WRITE };

static enum fault flagged(void) {
    const char *flag = getenv("FAULT_FLAG");
    if (flag == NULL) return NONE;
    /* By the raw call: it must not meet itself. */
    int fd = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NONE;
    char what[16] = {0};
    long got = syscall(SYS_read, fd, what, sizeof what - 1);
    syscall(SYS_close, fd);
    if (got <= 0) return NONE;
    if (strncmp(what, "ENOSPC", 6) == 0) return NO_SPACE;
    if (strncmp(what, "EWRITE", 6) == 0) return NO_WRITE;
    if (strncmp(what, "EIO", 3) == 0) return NO_SYNC;
    return NONE;
}

static enum fault fault_of(int fd) {
    int before = errno;
    enum fault fault = flagged();
    const char *prefix = getenv("FAULT_PREFIX");
    if (fault != NONE && prefix != NULL) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = 0;
        if (strncmp(path, prefix, strlen(prefix)) != 0) fault = NONE;
    } else {
        fault = NONE;
    }
    errno = before;
    return fault;
}

static int cannot_write(int fd) {
    enum fault fault = fault_of(fd);
    if (fault == NO_SPACE) errno = ENOSPC;
    if (fault == NO_WRITE) errno = EIO;
    return fault == NO_SPACE || fault == NO_WRITE;
}

static int cannot_sync(int fd) {
    if (fault_of(fd) != NO_SYNC) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

ssize_t write(int fd, const void *bytes, size_t count) {
    if (cannot_write(fd)) return -1;
    return NEXT("write", ssize_t(*)(int, const void *, size_t))(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (cannot_write(fd)) return -1;
    return NEXT("pwrite", ssize_t(*)(int, const void *, size_t, off_t))(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (cannot_write(fd)) return -1;
    return NEXT("pwrite64", ssize_t(*)(int, const void *, size_t, off64_t))(fd, bytes, count, at);
}

int ftruncate(int fd, off_t length) {
    if (cannot_write(fd)) return -1;
    return NEXT("ftruncate", int (*)(int, off_t))(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    if (cannot_write(fd)) return -1;
    return NEXT("ftruncate64", int (*)(int, off64_t))(fd, length);
}

int fsync(int fd) {
    if (cannot_sync(fd)) return -1;
    return NEXT("fsync", int (*)(int))(fd);
}

int fdatasync(int fd) {
    if (cannot_sync(fd)) return -1;
    return NEXT("fdatasync", int (*)(int))(fd);
}
