/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a store takes to open after a crash, with many messages waiting in it.
 *
 * store_restart [DIR [MESSAGES [MAILBOXES]]]. A process stores them as fast as it goes and is killed
 * with more of them on their way; what it has in memory is gone, and the page cache is emptied when
 * that is allowed. Then the store is opened, which is timed, and read: all that was acknowledged has
 * to be there.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "away.h"
#include "measure.h"

static uint64_t store_and_die(const char *dir, uint64_t messages, uint32_t mailboxes)
{
    uint64_t *stored = mmap(NULL, sizeof(*stored), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(stored != MAP_FAILED);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        struct away *b = away_open(dir, mailboxes, true);
        away_make_accounts(b);
        *stored = away_store(b, 3600, 0, messages);
        away_die(b);
    }
    int status;
    check(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    uint64_t n = *stored;
    munmap(stored, sizeof(*stored));
    return n;
}

static bool empty_page_cache(void)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (fd < 0)
        return false;
    bool done = write(fd, "1", 1) == 1;
    close(fd);
    return done;
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : "/var/tmp";
    uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    uint32_t mailboxes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100000;
    char dir[200], command[300];
    snprintf(dir, sizeof(dir), "%s/gw-store-restart-XXXXXX", base);
    check(mkdtemp(dir) != NULL);
    printf("storing %" PRIu64 " messages for %u mailboxes\n", messages, mailboxes);
    fflush(stdout);
    uint64_t stored = store_and_die(dir, messages, mailboxes);
    bool cold = empty_page_cache();
    printf("killed with %" PRIu64 " messages acknowledged; opening, page cache %s\n", stored,
           cold ? "empty" : "as it was");
    double begin = now_s();
    struct away *b = away_open(dir, mailboxes, true);
    printf("  open after %.2f s with %" PRIu64 " messages\n", now_s() - begin, stored);
    begin = now_s();
    uint64_t read = away_read(b);
    printf("  %" PRIu64 " read and removed, %.0f/s; %s\n", read, (double)read / (now_s() - begin),
           read >= stored ? "nothing acknowledged is missing" : "ACKNOWLEDGED MESSAGES ARE MISSING");
    away_close(b);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    check(system(command) == 0);
    return read >= stored ? 0 : 1;
}
