/* threads [COUNT]: four threads add to one number under a futex; joined by the kernel's clearing of their ids. */
#include "system.h"

enum { THREADS = 4, FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
	| CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID };

struct thread { char stack[4096]; uint64_t frame[20]; void (*function)(struct thread *); struct thread *self; int tid, id;
	uint64_t pad; };

static struct thread threads[THREADS] __attribute__((aligned(16)));
static int lock;
static long rounds = 1000, sum;

static uint64_t thread_pointer(void)
{
	uint64_t high, low;

	__asm__("ear %0,%%a0\n\tear %1,%%a1" : "=d"(high), "=d"(low));
	return high << 32 | (low & 0xffffffff);
}

static void take(void)
{
	int expected = 0;

	if (__atomic_compare_exchange_n(&lock, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE))
		system_call(SYS_futex, &lock, (long)FUTEX_WAIT, 2L, 0L);
}

static void release(void)
{
	if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
		system_call(SYS_futex, &lock, (long)FUTEX_WAKE, 1L);
}

static void add(struct thread *self)
{
	for (long count = 0; count < rounds; count++) {
		take();
		sum++;
		if (count % 64 == 0)
			system_call(SYS_sched_yield);
		release();
	}
	if (thread_pointer() != (uint64_t)self)
		print("thread pointer %x, wanted %x\n", thread_pointer(), (long)self);
}

int main(int argc, char **argv, char **environment)
{
	if (argc > 1)
		rounds = number_in(argv[1]);
	for (int index = 0; index < THREADS; index++) {
		struct thread *each = &threads[index];

		each->function = add;
		each->self = each;
		each->tid = 1;
		if (start_thread(each->frame, FLAGS, &each->id, &each->tid, (uint64_t)each) < 0)
			return 1;
	}
	for (int index = 0; index < THREADS; index++) {
		int running;

		while ((running = __atomic_load_n(&threads[index].tid, __ATOMIC_ACQUIRE)))
			system_call(SYS_futex, &threads[index].tid, (long)FUTEX_WAIT, (long)running, 0L);
		print("thread %d: an id of its own %d\n", index, threads[index].id > system_call(SYS_getpid));
	}
	print("sum %d\n", sum);
	print("futex with another value: %d\n", system_call(SYS_futex, &lock, (long)FUTEX_WAIT, 7L, 0L));
	return 0;
}
