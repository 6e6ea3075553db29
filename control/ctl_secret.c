/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be an argument: passwords; and files, which the broker never opens itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "../dataplane/base/check.h"
#include "ctl.h"

#define SECRET_BYTES 4096

void ctl_secret_free(char *secret)
{
    if (secret == NULL)
        return;
    OPENSSL_cleanse(secret, SECRET_BYTES);
    free(secret);
}

/* A line without its end; unbuffered, so that no copy stays in stdio. False at once at the end. */
static bool read_line(int fd, char *out)
{
    size_t len = 0;
    ssize_t n;
    char c = '\0';
    while (len < SECRET_BYTES - 1 && (n = read(fd, &c, 1)) == 1 && c != '\n')
        out[len++] = c;
    if (len > 0 && out[len - 1] == '\r')
        len--;
    out[len] = '\0';
    return len > 0;
}

static bool ask(int tty, const char *prompt, char *out)
{
    struct termios before, silent;
    if (tcgetattr(tty, &before) != 0)
        return false;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(tty, TCSAFLUSH, &silent) != 0)
        return false;
    dprintf(tty, "%s: ", prompt);
    bool ok = read_line(tty, out);
    tcsetattr(tty, TCSAFLUSH, &before);
    dprintf(tty, "\n");
    return ok;
}

static bool ask_twice(int tty, char *out)
{
    char *again = calloc(1, SECRET_BYTES);
    check(again != NULL);
    bool ok = ask(tty, "Password", out) && ask(tty, "Again", again);
    if (ok && strcmp(out, again) != 0) {
        fprintf(stderr, "godwitctl: the two passwords differ\n");
        ok = false;
    } else if (!ok) {
        fprintf(stderr, "godwitctl: no password was given\n");
    }
    ctl_secret_free(again);
    return ok;
}

static bool read_stdin(char *out)
{
    if (read_line(STDIN_FILENO, out))
        return true;
    fprintf(stderr, "godwitctl: standard input holds no password: its first line is one\n");
    return false;
}

char *ctl_secret_read(bool from_stdin)
{
    char *secret = calloc(1, SECRET_BYTES);
    check(secret != NULL);
    int tty = from_stdin ? -1 : open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    bool ok = false;
    if (from_stdin)
        ok = read_stdin(secret);
    else if (tty >= 0)
        ok = ask_twice(tty, secret);
    else
        fprintf(stderr, "godwitctl: there is no terminal to ask for the password: give it by "
                        "--password-stdin\n");
    if (tty >= 0)
        close(tty);
    if (ok)
        return secret;
    ctl_secret_free(secret);
    return NULL;
}

/* ---- files ---- */

/* The broker reads regular files only: nothing else is sure to have an end. */
static int copy_to_memory(int from)
{
    char buf[65536];
    ssize_t n;
    int to = memfd_create("godwitctl", MFD_CLOEXEC);
    if (to < 0)
        return -1;
    while ((n = read(from, buf, sizeof(buf))) > 0) {
        if (write(to, buf, (size_t)n) != n) {
            n = -1;
            break;
        }
    }
    OPENSSL_cleanse(buf, sizeof(buf));
    if (n == 0)
        return to;
    close(to);
    return -1;
}

int ctl_file_open(const char *path)
{
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        int copy = copy_to_memory(fd);
        int err = errno;
        close(fd);
        errno = err;
        fd = copy;
    }
    if (fd < 0)
        fprintf(stderr, "godwitctl: %s: %s\n", standard_input ? "standard input" : path,
                strerror(errno));
    return fd;
}
