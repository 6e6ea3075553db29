/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be an argument: passwords; and files, which the broker never opens itself. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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

/* Blocks; false when a signal came that `during` lets through. */
static bool wait_readable(int fd, const sigset_t *during)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return ppoll(&p, 1, NULL, during) == 1;
}

/* A line without its end; unbuffered, so that no copy stays in stdio. False when there is none. */
static bool read_line(int fd, char *out, const sigset_t *during)
{
    size_t len = 0;
    char c = '\0';
    while (len < SECRET_BYTES - 1 && wait_readable(fd, during) && read(fd, &c, 1) == 1 && c != '\n')
        out[len++] = c;
    if (len > 0 && out[len - 1] == '\r')
        len--;
    out[len] = '\0';
    return len > 0;
}

/* ---- a terminal without echo, given back as it was whatever happens ---- */

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    caught = sig;
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

struct signals {
    struct sigaction actions[ENDING_SIGNALS];
    sigset_t mask;
};

/* They come only while the terminal is waited for: none can slip in between looking and waiting. */
static void catch_signals(struct signals *before)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigset_t block;
    caught = 0;
    sigemptyset(&block);
    for (size_t i = 0; i < ENDING_SIGNALS; i++)
        sigaddset(&block, ending_signals[i]);
    sigprocmask(SIG_BLOCK, &block, &before->mask);
    for (size_t i = 0; i < ENDING_SIGNALS; i++)
        sigaction(ending_signals[i], &act, &before->actions[i]);
}

static void release_signals(const struct signals *before)
{
    for (size_t i = 0; i < ENDING_SIGNALS; i++)
        sigaction(ending_signals[i], &before->actions[i], NULL);
    if (caught != 0)
        raise(caught);
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
}

static bool ask(int tty, const char *prompt, char *out)
{
    struct termios before, silent;
    struct signals signals;
    bool ok = false;
    if (tcgetattr(tty, &before) != 0)
        return false;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    catch_signals(&signals);
    if (tcsetattr(tty, TCSAFLUSH, &silent) == 0) {
        dprintf(tty, "%s: ", prompt);
        ok = read_line(tty, out, &signals.mask) && caught == 0;
        tcsetattr(tty, TCSAFLUSH, &before);
        dprintf(tty, "\n");
    }
    release_signals(&signals);
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
    if (read_line(STDIN_FILENO, out, NULL))
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
