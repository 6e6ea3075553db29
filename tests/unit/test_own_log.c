/* SPDX-License-Identifier: Apache-2.0 */
/* Directories in memory, of processes that end, die, and live on. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../storage/own_log.h"

static char path[128], dir[OWN_LOG_BYTES];

/* A name that no other run of these tests has. */
static void begin(const char *test)
{
    snprintf(path, sizeof(path), "/nowhere/%ld/%s", (long)getpid(), test);
}

static void leave_a_file(void)
{
    char file[OWN_LOG_BYTES + 8];
    snprintf(file, sizeof(file), "%s/LOG", dir);
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

static bool exists(void)
{
    struct stat s;
    return lstat(dir, &s) == 0;
}

/* Only `dir`. */
static void name(void)
{
    int lock = own_log_open(path, dir);
    cr_assert_geq(lock, 0);
    own_log_close(&lock, path);
}

/* Another process that has it open, until it is killed. */
static pid_t start_user(void)
{
    int ready[2];
    char ok = 0;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        ok = own_log_open(path, dir) >= 0;
        if (write(ready[1], &ok, 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &ok, 1), 1);
    close(ready[0]);
    cr_assert(ok);
    return pid;
}

static void kill_user(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(own_log, it_goes_with_its_user)
{
    begin("one");
    int lock = own_log_open(path, dir);
    cr_assert_geq(lock, 0);
    leave_a_file();
    own_log_close(&lock, path);
    cr_assert_eq(lock, -1);
    cr_assert_not(exists());
    own_log_close(&lock, path);
}

Test(own_log, the_last_of_its_users_takes_it_along)
{
    begin("two");
    int a = own_log_open(path, dir), b = own_log_open(path, dir);
    cr_assert_geq(a, 0);
    cr_assert_geq(b, 0);
    leave_a_file();
    own_log_close(&a, path);
    cr_assert(exists());
    own_log_close(&b, path);
    cr_assert_not(exists());
}

Test(own_log, what_the_dead_have_left_is_swept_and_nothing_else)
{
    begin("dead");
    name();
    pid_t user = start_user();
    leave_a_file();
    own_log_sweep();
    cr_assert(exists(), "somebody uses it");
    kill_user(user);
    cr_assert(exists());
    own_log_sweep();
    cr_assert_not(exists());
}

/* Who died may have been killed and started again: the same directory serves. */
Test(own_log, what_a_dead_one_has_left_serves_the_next)
{
    begin("again");
    kill_user(start_user());
    int lock = own_log_open(path, dir);
    cr_assert_geq(lock, 0);
    own_log_sweep();
    cr_assert(exists());
    own_log_close(&lock, path);
    cr_assert_not(exists());
}

Test(own_log, what_others_may_write_to_is_refused_and_left_alone)
{
    begin("open");
    name();
    cr_assert_eq(mkdir(dir, 0700), 0);
    cr_assert_eq(chmod(dir, 0777), 0);
    cr_assert_eq(own_log_open(path, dir), -EPERM);
    own_log_sweep();
    cr_assert(exists());
    cr_assert_eq(rmdir(dir), 0);
    cr_assert_eq(symlink("/tmp", dir), 0);
    cr_assert_eq(own_log_open(path, dir), -EPERM);
    own_log_sweep();
    cr_assert(exists());
    cr_assert_eq(unlink(dir), 0);
}
