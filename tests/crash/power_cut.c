/* What a power cut takes from one folder: all that was written to its files, and done to their names,
 * since it was synced. Loaded into the broker with LD_PRELOAD by tests/crash/power.rs, which kills it
 * and then undoes what this notes:
 *
 *   $POWER_CUT_FOLDER  the folder
 *   $POWER_CUT_UNDO    where it is noted:
 *     loaded     there since this was loaded
 *     <inode>    of a file: for each write and each cut of its length the bytes of before, oldest first;
 *                gone when the file is synced
 *     names      a line for each name made, changed or removed; gone when the folder is synced
 *     kept-<n>   a file whose name was removed
 *
 * A note is made before what it is of is done, so that a kill between the two costs nothing. What is not
 * seen from here: fallocate, which is a system call of its own and adds zeros.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITTEN 1
#define CUT 2

struct note {
    uint64_t kind, offset, length, file_length;
};

static char folder[PATH_MAX], undo[PATH_MAX];
static size_t folder_length;
static unsigned kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fdatasync)(int), (*real_fsync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_rename)(const char *, const char *), (*real_unlink)(const char *);

static void give_up(const char *what) {
    perror(what);
    abort(); /* what is not noted could not be undone: the test would prove nothing */
}

__attribute__((constructor)) static void load(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *of = getenv("POWER_CUT_FOLDER"), *in = getenv("POWER_CUT_UNDO");
    if (!of || !in || strlen(of) >= PATH_MAX || strlen(in) >= PATH_MAX - 64)
        return;
    strcpy(folder, of);
    strcpy(undo, in);
    folder_length = strlen(folder);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/loaded", undo);
    close(real_open(path, O_CREAT | O_WRONLY, 0600));
}

/* The name in the folder that a path is of; "" for the folder itself, NULL for anything else. */
static const char *name_in_folder(const char *path) {
    if (!folder_length || strncmp(path, folder, folder_length))
        return NULL;
    if (path[folder_length] == '/')
        return path + folder_length + 1;
    return path[folder_length] ? NULL : "";
}

/* Whether what is open there is in the folder; 2: it is the folder. */
static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    if (!folder_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    const char *name = name_in_folder(path);
    return !name ? 0 : *name ? 1 : 2;
}

static void append(const char *file, const void *bytes, size_t length) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", undo, file);
    int fd = real_open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || real_write(fd, bytes, length) != (ssize_t)length)
        give_up("a note of what was not synced");
    close(fd);
}

static void forget(const char *file) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", undo, file);
    if (real_unlink(path) && errno != ENOENT)
        give_up("forgetting what was synced");
}

static void file_of(char name[32], ino_t inode) {
    snprintf(name, 32, "%llu", (unsigned long long)inode);
}

/* Notes the bytes from `offset` on, as they are. */
static void note(int fd, uint64_t kind, uint64_t offset, uint64_t length) {
    struct stat64 now;
    if (fstat64(fd, &now))
        give_up("fstat");
    uint64_t size = now.st_size;
    if (kind == CUT)
        length = size > offset ? size - offset : 0;
    char *bytes = calloc(1, sizeof(struct note) + length + 1);
    if (!bytes)
        give_up("memory");
    for (uint64_t done = 0; offset + done < size && done < length;) {
        ssize_t more = pread64(fd, bytes + sizeof(struct note) + done, length - done, offset + done);
        if (more <= 0)
            break;
        done += more;
    }
    if (kind == CUT) /* zeros come back by themselves */
        while (length && !bytes[sizeof(struct note) + length - 1])
            length--;
    struct note head = {kind, offset, length, size};
    memcpy(bytes, &head, sizeof head);
    char name[32];
    file_of(name, now.st_ino);
    append(name, bytes, sizeof head + length);
    free(bytes);
}

static void note_name(const char *what, const char *name, const char *other) {
    char line[2 * NAME_MAX];
    int length = snprintf(line, sizeof line, "%s %s %s\n", what, name, other);
    append("names", line, length);
}

/* Keeps what has this name, and notes that it is to lose it. */
static void keep(const char *path, const char *name) {
    char other[PATH_MAX], number[32];
    snprintf(number, sizeof number, "%d-%u", (int)getpid(), kept++);
    snprintf(other, sizeof other, "%s/kept-%s", undo, number);
    if (link(path, other)) {
        if (errno != ENOENT)
            give_up("keeping a file");
        return;
    }
    note_name("removed", name, number);
}

static int opened(const char *path, int flags, mode_t mode) {
    const char *name = name_in_folder(path);
    if (!name || !*name || !(flags & (O_CREAT | O_TRUNC)))
        return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    int before = real_open(path, O_RDONLY);
    if (before < 0)
        note_name("made", name, "");
    else if (flags & O_TRUNC)
        note(before, CUT, 0, 0);
    if (before >= 0)
        close(before);
    int fd = real_open(path, flags, mode);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(function)                                                                                 \
    int function(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
            va_list more;                                                                              \
            va_start(more, flags);                                                                     \
            mode = va_arg(more, mode_t);                                                               \
            va_end(more);                                                                              \
        }                                                                                              \
        return opened(path, flags, mode);                                                              \
    }
OPEN(open)
OPEN(open64)

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    if (is_ours(fd) != 1)
        return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    note(fd, WRITTEN, offset, length);
    ssize_t written = real_pwrite(fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd > 2 && is_ours(fd) == 1) {
        fprintf(stderr, "a file of the folder is written in a way that is not noted\n");
        abort();
    }
    return real_write(fd, bytes, length);
}

int ftruncate64(int fd, off64_t length) {
    if (is_ours(fd) != 1)
        return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    note(fd, CUT, length, 0);
    int done = real_ftruncate(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

static int synced(int fd, int (*sync)(int)) {
    int ours = is_ours(fd);
    if (!ours)
        return sync(fd);
    pthread_mutex_lock(&lock);
    int done = sync(fd);
    if (!done && ours == 2) {
        /* Files that have no name any more are gone with what was noted of them. */
        char path[PATH_MAX], line[2 * NAME_MAX], number[64];
        snprintf(path, sizeof path, "%s/names", undo);
        FILE *names = fopen(path, "r");
        while (names && fgets(line, sizeof line, names)) {
            struct stat64 file;
            char name[80], notes[32];
            if (sscanf(line, "removed %*s %63s", number) != 1)
                continue;
            snprintf(name, sizeof name, "kept-%s", number);
            snprintf(path, sizeof path, "%s/%s", undo, name);
            if (!stat64(path, &file)) {
                file_of(notes, file.st_ino);
                forget(notes);
            }
            forget(name);
        }
        if (names)
            fclose(names);
        forget("names");
    } else if (!done) {
        struct stat64 file;
        char name[32];
        if (fstat64(fd, &file))
            give_up("fstat");
        file_of(name, file.st_ino);
        forget(name);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fdatasync(int fd) { return synced(fd, real_fdatasync); }
int fsync(int fd) { return synced(fd, real_fsync); }

int rename(const char *from, const char *to) {
    const char *old = name_in_folder(from), *new = name_in_folder(to);
    if (!old || !new)
        return real_rename(from, to);
    pthread_mutex_lock(&lock);
    keep(to, new);
    note_name("renamed", old, new);
    int done = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    const char *name = name_in_folder(path);
    if (!name || !*name)
        return real_unlink(path);
    pthread_mutex_lock(&lock);
    keep(path, name);
    int done = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return done;
}
