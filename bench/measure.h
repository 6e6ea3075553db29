/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, percentiles and CPU time by thread name, for the programs of this folder. */
#ifndef GW_BENCH_MEASURE_H
#define GW_BENCH_MEASURE_H

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/base/check.h"

static inline double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline uint32_t below(uint64_t *random, uint32_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % limit);
}

static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts v. */
static inline double percentile(double *v, size_t n, double p)
{
    if (n == 0)
        return 0;
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[(size_t)((double)(n - 1) * p)];
}

#define CPU_THREADS_MAX 16

struct cpu_times {
    struct {
        char name[16];
        uint64_t ticks;
    } thread[CPU_THREADS_MAX]; /* threads of one name count as one */
};

static inline void cpu_add(struct cpu_times *c, const char *name, uint64_t ticks)
{
    unsigned i = 0;
    while (i < CPU_THREADS_MAX - 1 && c->thread[i].name[0] != '\0' &&
           strcmp(c->thread[i].name, name) != 0)
        i++;
    snprintf(c->thread[i].name, sizeof(c->thread[i].name), "%s", name);
    c->thread[i].ticks += ticks;
}

/* One line of /proc/self/task/N/stat. */
static inline void cpu_add_stat(struct cpu_times *c, char *line)
{
    char *name = strchr(line, '('), *end = strrchr(line, ')');
    if (name == NULL || end == NULL)
        return;
    *end = '\0';
    uint64_t user, system;
    if (sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &system) == 2)
        cpu_add(c, name + 1, user + system);
}

static inline struct cpu_times cpu_read(void)
{
    struct cpu_times c = {0};
    DIR *d = opendir("/proc/self/task");
    check(d != NULL);
    struct dirent *t;
    while ((t = readdir(d)) != NULL) {
        char path[300], line[512];
        snprintf(path, sizeof(path), "/proc/self/task/%s/stat", t->d_name);
        FILE *f = t->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (f == NULL)
            continue;
        if (fgets(line, sizeof(line), f) != NULL)
            cpu_add_stat(&c, line);
        fclose(f);
    }
    closedir(d);
    return c;
}

/* "name us name us": CPU time since `before`, for each of n things. */
static inline void cpu_print(const struct cpu_times *before, size_t n)
{
    struct cpu_times now = cpu_read();
    for (unsigned i = 0; i < CPU_THREADS_MAX && now.thread[i].name[0] != '\0'; i++) {
        uint64_t ticks = now.thread[i].ticks;
        for (unsigned k = 0; k < CPU_THREADS_MAX; k++)
            if (strcmp(before->thread[k].name, now.thread[i].name) == 0)
                ticks -= before->thread[k].ticks;
        printf("  %s %.2f", now.thread[i].name,
               (double)ticks / (double)sysconf(_SC_CLK_TCK) * 1e6 / (double)n);
    }
    printf("\n");
}

#endif
