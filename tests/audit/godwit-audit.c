/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor: proves from the clients' logs, the ledger and the store that every acknowledged
 * message was delivered or waits, once and in order, and that the ledger agrees. Without logs, that
 * ledger and store agree. Of a store that no broker runs on: it is opened as a broker would open it
 * after a crash.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../control/config.h"
#include "../../control/ledger_reader.h"
#include "../../control/offline.h"
#include "../../dataplane/base/check.h"
#include "book.h"

#define READ_BYTES    (1u << 20)
#define SEALER_THREAD 1003u
#define EVENTS_STEP   10000

static int fail(const char *what)
{
    fprintf(stderr, "godwit-audit: %s\n", what);
    return 2;
}

static void usage(FILE *out)
{
    fputs(
        "usage: godwit-audit --config FILE [--store DIR] [--users TEXT] [--lines N] [LOG]..\n"
        "\n"
        "  --config FILE  the broker's configuration: where store and master key are. The broker\n"
        "                 must not run.\n"
        "  --store DIR    another store, a copy of that one\n"
        "  --users TEXT   bare JIDs of the users in the logs, % for the name there (%)\n"
        "  --lines N      describe at most so many faults (20)\n"
        "\n"
        "Logs are those of godwit-load --log; without any, ledger and store are held against each\n"
        "other. Status 0: all promises are kept; 1: not; 2: the audit could not be made.\n",
        out);
}

/* ---- the ledger ---- */

static bool take_event(void *ctx, const struct ledger_event *e)
{
    book_add_event(ctx, &e->event);
    return true;
}

static int read_ledger(struct book *b, struct gw_store_client *client, struct gw_keyring *keys)
{
    struct gw_sealer *sealer;
    struct store_ops ops;
    struct ledger_reader r;
    enum ledger_read rc;
    if (gw_sealer_open(&sealer, GW_SEAL_IPSEC_MB, SEALER_THREAD) != 0)
        return fail("no memory for a sealer");
    store_ops_init(&ops, client);
    ledger_reader_init(&r, &ops, keys, sealer, (struct ledger_place){0});
    while ((rc = ledger_reader_step(&r, EVENTS_STEP, take_event, b)) != LEDGER_READ_END &&
           rc != LEDGER_READ_FAILED)
        if (rc == LEDGER_READ_WAIT)
            store_ops_drain(&ops);
    int status = rc == LEDGER_READ_FAILED ? fail(strerror(-r.rc))
                 : r.damaged > 0          ? fail("the ledger has records that do not open")
                                          : 0;
    ledger_reader_free(&r);
    gw_sealer_free(&sealer);
    return status;
}

/* ---- what waits ---- */

static int read_mailbox(struct book *b, struct gw_store_client *client,
                        const struct gw_mailbox_id *id, uint8_t *buf)
{
    struct gw_store_request r = {
        .op = GW_STORE_READ, .mailbox = *id, .data = buf, .data_len = READ_BYTES};
    struct gw_store_completion done;
    do {
        if (gw_store_call(client, &r, &done) != 0)
            return fail("a mailbox cannot be read");
        size_t off = 0;
        const struct gw_record_head *rec;
        while ((rec = gw_record_next(buf, done.len, &off)) != NULL)
            book_add_waiting(b, id, rec->position);
        r.from = done.next;
    } while (done.more);
    return 0;
}

static int read_mailboxes(struct book *b, struct gw_store_client *client)
{
    uint8_t *buf = aligned_alloc(64, READ_BYTES);
    check(buf != NULL);
    int status = 0;
    const struct gw_mailbox_id *id;
    for (size_t i = 0; status == 0 && (id = book_mailbox(b, i)) != NULL; i++)
        status = read_mailbox(b, client, id, buf);
    free(buf);
    return status;
}

/* ---- all of it ---- */

static int read_store(struct book *b, const struct gw_config *c, const char *path)
{
    char err[256] = "";
    struct offline_store s;
    if (access(path, F_OK) != 0)
        return fail("there is no store at that place");
    int status = offline_open(&s, c, path, 2, err) != 0 ? fail(err) : 0;
    if (status == 0)
        status = read_ledger(b, gw_store_client(s.store, 0), s.keys);
    if (status == 0)
        status = read_mailboxes(b, gw_store_client(s.store, 1));
    offline_close(&s);
    return status;
}

static int read_logs(struct book *b, char **paths)
{
    for (; *paths != NULL; paths++) {
        FILE *log = fopen(*paths, "r");
        int err = log == NULL ? -errno : book_read_log(b, log);
        if (log != NULL)
            fclose(log);
        if (err)
            return fail(strerror(-err));
    }
    return 0;
}

static int verdict(struct book *b)
{
    uint64_t faults = book_judge(b);
    const struct book_counts *n = book_counts(b);
    printf("logs:   %" PRIu64 " sent, %" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64
           " received\nledger: %" PRIu64 " stored, %" PRIu64 " delivered, %" PRIu64
           " expired\nstore:  %" PRIu64
           " waiting\n",
           n->sent, n->acknowledged, n->refused, n->received, n->stored, n->delivered, n->expired,
           n->waiting);
    const struct book_faults *f = book_faults(b);
#define X(name, meaning) \
    if (f->name > 0)     \
        printf("%-10s %" PRIu64 ": %s\n", #name, f->name, meaning);
    BOOK_FAULTS(X)
#undef X
    puts(faults == 0 ? "every promise is kept" : "PROMISES ARE BROKEN");
    return faults == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"store", required_argument, NULL, 's'},
        {"users", required_argument, NULL, 'u'},  {"lines", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {0}};
    const char *config = NULL, *path = NULL, *users = "%";
    bool wrong = false;
    unsigned lines = 20;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            usage(stdout);
            return 0;
        }
        if (o == 'c')
            config = optarg;
        else if (o == 's')
            path = optarg;
        else if (o == 'u')
            users = optarg;
        else if (o == 'l')
            lines = (unsigned)strtoul(optarg, NULL, 10);
        else
            wrong = true;
    }
    if (wrong || config == NULL || strchr(users, '%') == NULL) {
        usage(stderr);
        return 2;
    }
    struct gw_config *c;
    if (gw_config_read(&c, config, stderr) != 0)
        return 2;
    struct book *b = book_new(users, stdout, lines);
    int status = read_logs(b, argv + optind);
    if (status == 0)
        status = read_store(b, c, path != NULL ? path : c->store_path);
    if (status == 0)
        status = verdict(b);
    book_free(&b);
    gw_config_free(&c);
    return status;
}
