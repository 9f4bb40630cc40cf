/* Preloaded behind libfaketime: C11's timed wait, which librdkafka uses, by the false wall clock.
 *
 * libfaketime knows the one of POSIX only. Like the kernel, this looks at the clock all the while, so
 * that a wait lasts for hours when the clock is set back by hours meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

static const long long SECOND = 1000000000, LOOK_EVERY = 50000000;

static long long now(clockid_t clock) {
  struct timespec at;
  clock_gettime(clock, &at);
  return at.tv_sec * SECOND + at.tv_nsec;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict lock, const struct timespec *restrict until) {
  for (;;) {
    long long left = until->tv_sec * SECOND + until->tv_nsec - now(CLOCK_REALTIME);
    if (left <= 0) return thrd_timedout;
    long long look = now(CLOCK_MONOTONIC) + (left < LOOK_EVERY ? left : LOOK_EVERY);
    struct timespec at = {look / SECOND, look % SECOND};
    /* glibc's two kinds of conditions and locks are one. */
    int error = pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)lock, CLOCK_MONOTONIC, &at);
    if (error != ETIMEDOUT) return error ? thrd_error : thrd_success;
  }
}
