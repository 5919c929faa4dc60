/* A disk whose every sync takes SLOW_SYNC_US microseconds more. Loaded into a broker with LD_PRELOAD, for
 * figures of disks that the machine does not have. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    const char *more = getenv("SLOW_SYNC_US");
    if (more)
        usleep(atoi(more));
    return real(fd);
}

int fdatasync(int fd) { return slowly("fdatasync", fd); }
int fsync(int fd) { return slowly("fsync", fd); }
