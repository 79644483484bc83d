/* clock: clocks go on, sleeps last, alarms come. */
#include "system.h"

static long now(long clock)
{
	struct timespec time;

	system_call(SYS_clock_gettime, clock, &time);
	return time.seconds * 1000000000 + time.nanoseconds;
}

int main(int argc, char **argv, char **environment)
{
	struct timespec short_while = {0, 30000000}, bad = {0, 1000000000}, resolution = {9, 9}, deadline;
	struct timeval day;
	long before = now(CLOCK_MONOTONIC), after;

	print("nanosleep %d", system_call(SYS_nanosleep, &short_while, 0L));
	after = now(CLOCK_MONOTONIC);
	print(", long enough %d\n", after - before >= 30000000);
	before = after + 30000000;
	deadline.seconds = before / 1000000000;
	deadline.nanoseconds = before % 1000000000;
	print("clock_nanosleep until then %d", system_call(SYS_clock_nanosleep, (long)CLOCK_MONOTONIC, 1L, &deadline, 0L));
	print(", is then %d\n", now(CLOCK_MONOTONIC) >= before);
	print("nanosleep with a wrong time %d\n", system_call(SYS_nanosleep, &bad, 0L));
	system_call(SYS_gettimeofday, &day, 0L);
	print("after 2020 %d, both clocks agree %d\n", day.seconds > 1577836800,
	      now(CLOCK_REALTIME) / 1000000000 - day.seconds <= 1);
	print("resolution %d", system_call(SYS_clock_getres, (long)CLOCK_MONOTONIC, &resolution));
	print(" %d.%d\n", resolution.seconds, resolution.nanoseconds);
	print("no such clock %d\n", system_call(SYS_clock_gettime, 99L, &resolution));
	return 0;
}
