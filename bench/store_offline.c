/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for recipients that are away: stored at a steady rate, then read back and removed.
 *
 * store_offline [DIR [SECONDS [RATE [MAILBOXES [plain]]]]]. Says each few seconds how much is not
 * spilled yet, and whether the store keeps up. With `plain` nothing is sealed, to show what that
 * costs. A run in which not all that was stored is read, or something stays, fails.
 */
#include "away.h"
#include "measure.h"

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : "/var/tmp";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 60;
    double rate = argc > 3 ? strtod(argv[3], NULL) : 120000;
    uint32_t mailboxes = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 100000;
    char dir[200], command[300];
    snprintf(dir, sizeof(dir), "%s/gw-store-offline-XXXXXX", base);
    check(mkdtemp(dir) != NULL);
    struct away *b = away_open(dir, mailboxes, argc <= 5 || strcmp(argv[5], "plain") != 0);
    away_make_accounts(b);

    printf("storing %u-byte records for %u mailboxes, %.0f a second asked for\n",
           AWAY_RECORD_BYTES, mailboxes, rate);
    struct cpu_times before = cpu_read();
    double begin = now_s();
    uint64_t stored = away_store(b, seconds, rate, UINT64_MAX);
    away_print(b, now_s() - begin, stored);
    printf("  CPU us/record:");
    cpu_print(&before, stored);

    printf("reading back and removing\n");
    before = cpu_read();
    begin = now_s();
    uint64_t read = away_read(b);
    double took = now_s() - begin;
    printf("  %" PRIu64 " read, %.0f/s  CPU us/record:", read, (double)read / took);
    cpu_print(&before, read);
    uint64_t left = away_waiting(b);
    printf("  left in the mailboxes: %" PRIu64 "\n", left);
    bool agrees = read == stored && left == 0;
    if (!agrees)
        printf("  WRONG: %" PRIu64 " stored, %" PRIu64 " read, and none should be left\n", stored,
               read);
    snprintf(command, sizeof(command), "du -sh %s/store | sed 's/^/  on disk: /'", dir);
    check(system(command) == 0);
    away_close(b);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 && agrees ? 0 : 1;
}
