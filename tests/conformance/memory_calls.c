/* Stores into files through shared mappings, and prints who sees what; maps memory with System V's calls, too. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static sigjmp_buf back;

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static void show(const char *what, const char *text)
{
	printf("%s: %.8s\n", what, text);
	fflush(stdout);
}

static void faulted(int number, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d code %d\n", number, info->si_code);
	siglongjmp(back, 1);
}

static char *map(int file, int protection, int flags, long offset)
{
	char *found = mmap(NULL, 2 * PAGE, protection, flags, file, offset);

	if (found == MAP_FAILED)
		printf("mmap: %s\n", strerror(errno));
	return found;
}

static void shared_file(void)
{
	int file = open("shared", O_RDWR | O_CREAT, 0600), other = open("shared", O_RDONLY);
	char text[8] = "", *first, *second, *private;
	int ready[2], status;

	say("write", write(file, "in file", 8));
	say("size", ftruncate(file, 3 * PAGE - 100));
	first = map(file, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	second = map(other, PROT_READ, MAP_SHARED, 0);
	private = map(other, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	show("first", first);
	memcpy(first, "stored", 7);
	show("second mapping", second);
	show("private mapping", private);
	say("read", pread(other, text, 8, 0));
	show("read", text);
	say("write", pwrite(file, "written", 8, 0));
	show("seen in the first", first);
	memcpy(private, "mine", 5);
	show("not seen in the first", first);
	memcpy(first, "again", 6);
	show("not seen in the private one", private);
	first[PAGE + 10] = 'h';
	say("hole", pread(other, text, 1, PAGE + 10));
	show("hole", text);
	if (pipe(ready))
		return;
	fflush(stdout);
	if (!fork()) {
		close(ready[0]);
		show("the child sees", first);
		memcpy(first, "child", 6);
		memcpy(private, "child's", 8);
		munmap(first, 2 * PAGE);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(ready[1]);
	say("the child has stored", read(ready[0], text, 1));
	show("the parent sees", first);
	show("and not", private);
	wait(&status);
	say("msync", msync(first, 2 * PAGE, MS_SYNC));
	say("msync at once and later", msync(first, PAGE, MS_SYNC | MS_ASYNC));
	say("msync of half a page", msync(first + 1, PAGE, MS_SYNC));
	say("msync of nothing mapped", msync((char *)0x100000, PAGE, MS_ASYNC));
	say("other flags", msync(first, PAGE, 64));
	memcpy(first, "last", 5);
	say("munmap", munmap(first, 2 * PAGE));
	close(file);
	memset(text, 0, 8);
	say("read", pread(other, text, 8, 0));
	show("read", text);
	printf("maps for writing: %s\n", mprotect(second, PAGE, PROT_READ | PROT_WRITE) ? strerror(errno) : "yes");
	first = map(other, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	first = map(other, PROT_READ, MAP_SHARED, 100);
	file = open("shared", O_WRONLY);
	first = map(file, PROT_WRITE, MAP_SHARED, 0);
	close(file);
	munmap(second, 2 * PAGE);
	munmap(private, 2 * PAGE);
	close(other);
}

static void ends_of_files(void)
{
	int file = open("end", O_RDWR | O_CREAT, 0600);
	char *shown, text[16] = "";

	say("write", write(file, "0123456789", 10));
	shown = map(file, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	shown[20] = 'x';
	say("behind the end", pread(file, text, 16, 0));
	say("longer", ftruncate(file, 30));
	if (!sigsetjmp(back, 1))
		printf("behind the last page: %d\n", shown[PAGE]);
	if (!sigsetjmp(back, 1))
		shown[PAGE] = 1;
	say("two pages", ftruncate(file, 2 * PAGE));
	shown[PAGE] = 'y';
	printf("now there is one: %c\n", shown[PAGE]);
	say("shorter", ftruncate(file, 5));
	if (!sigsetjmp(back, 1))
		printf("gone: %d\n", shown[PAGE]);
	printf("cleared: %d\n", shown[5]);
	say("longer", ftruncate(file, 2 * PAGE));
	printf("zero: %d %d\n", shown[5], shown[PAGE]);
	mprotect(shown, PAGE, PROT_READ);
	if (!sigsetjmp(back, 1))
		shown[0] = 1;
	mprotect(shown, PAGE, PROT_READ | PROT_WRITE);
	shown[0] = 'A';
	say("unlink", unlink("end"));
	say("read", pread(file, text, 3, 0));
	show("read", text);
	close(file);
	shown[1] = 'B';
	show("mapped still", shown);
	munmap(shown, 2 * PAGE);
}

static void segments(void)
{
	int number = shmget(IPC_PRIVATE, 2 * PAGE + 1, IPC_CREAT | 0600), keyed, again;
	struct shmid_ds found;
	char *first, *second, *reading;

	say("made", number >= 0);
	first = shmat(number, NULL, 0);
	second = shmat(number, NULL, 0);
	reading = shmat(number, NULL, SHM_RDONLY);
	say("mapped", first != (char *)-1 && second != (char *)-1 && reading != (char *)-1 && first != second);
	strcpy(first, "shared");
	show("second", second);
	if (!fork()) {
		strcpy(second, "child");
		_exit(shmdt(first));
	}
	wait(NULL);
	show("from the child", first);
	say("stat", shmctl(number, IPC_STAT, &found));
	printf("size %d mappings %d creator %d last %d owner %d times %d %d\n", (int)found.shm_segsz,
	       (int)found.shm_nattch, found.shm_cpid == getpid(), found.shm_lpid != getpid(),
	       found.shm_perm.uid == getuid(), found.shm_atime > 0, found.shm_ctime > 0);
	if (!sigsetjmp(back, 1))
		reading[0] = 1;
	say("unmap", shmdt(reading));
	say("unmap again", shmdt(reading));
	say("unmap the middle", shmdt(first + PAGE));
	say("within a page", shmat(number, first + 100, 0) == (void *)-1 ? -1 : 0);
	say("occupied", shmat(number, first, 0) == (void *)-1 ? -1 : 0);
	say("in its place", shmat(number, first, SHM_REMAP) == first);
	show("still", first);
	found.shm_perm.mode = 0640;
	say("set", shmctl(number, IPC_SET, &found));
	say("remove", shmctl(number, IPC_RMID, NULL));
	say("stat", shmctl(number, IPC_STAT, &found));
	printf("mappings %d\n", (int)found.shm_nattch);
	say("unmap", shmdt(first));
	show("still there", second);
	say("unmap", shmdt(second));
	say("gone", shmat(number, NULL, 0) == (void *)-1 ? -1 : 0);
	keyed = shmget(0x5eed0000 + getpid(), PAGE, IPC_CREAT | IPC_EXCL | 0600);
	again = shmget(0x5eed0000 + getpid(), PAGE, 0600);
	say("the same", keyed >= 0 && keyed == again);
	say("is there", shmget(0x5eed0000 + getpid(), PAGE, IPC_CREAT | IPC_EXCL | 0600));
	say("larger", shmget(0x5eed0000 + getpid(), PAGE + 1, 0600));
	say("remove", shmctl(keyed, IPC_RMID, NULL));
	say("none", shmget(0x5eed0000 + getpid(), PAGE, 0600));
	say("nothing", shmget(IPC_PRIVATE, 0, 0600));
	say("no such id", shmctl(keyed, IPC_STAT, &found));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = faulted, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	segments();
	shared_file();
	ends_of_files();
	return 0;
}
