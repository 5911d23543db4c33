// Preloaded into the server by faults.prove.ts: while the file FAULT_TRIGGER exists, calls of one kind fail on files below
// FAULT_FOLDER, as they do when a disk is lost; of the kind "hang", syncs do not return.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int hit(const char *kind, int fd, int code) {
  const char *wanted = getenv("FAULT_KIND"), *trigger = getenv("FAULT_TRIGGER"), *folder = getenv("FAULT_FOLDER");
  if (!wanted || !trigger || !folder || strcmp(wanted, kind) != 0 || access(trigger, F_OK) != 0) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  if (strncmp(path, folder, strlen(folder)) != 0) return 0;
  errno = code;
  return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static void hang(int fd) {
  while (hit("hang", fd, 0)) usleep(10000);
}

int fsync(int fd) {
  hang(fd);
  return hit("sync", fd, EIO) ? -1 : REAL(int, fsync, int)(fd);
}
int fdatasync(int fd) {
  hang(fd);
  return hit("sync", fd, EIO) ? -1 : REAL(int, fdatasync, int)(fd);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  return hit("write", fd, EROFS) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(fd, bytes, size);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
  return hit("write", fd, EROFS) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
  return hit("write", fd, EROFS) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, bytes, size, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return hit("write", fd, EROFS) ? -1 : REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return hit("write", fd, EROFS) ? -1
                                 : REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t)(fd, parts, count, at);
}
