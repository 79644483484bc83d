/* Uses semaphores and messages of System V, and receives several messages at once; prints what the calls return. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static void show(const char *name, const void *start, size_t size)
{
	const unsigned char *bytes = start;

	printf("%s:", name);
	for (size_t i = 0; i < size; i++)
		printf("%s%02x", i % 8 ? "" : " ", bytes[i]);
	printf("\n");
	fflush(stdout);
}

static void hide_permission(struct ipc_perm *found)
{
	found->__key = found->__key != IPC_PRIVATE;
	found->uid = found->cuid = found->gid = found->cgid = 0; /* programs of a guest are root */
	found->__seq = 0;
	found->mode = 0; /* qemu-s390x 7.2 has it two bytes before its place, and does not fill what is reserved */
}

static long operate(int set, int number, int change, int flags)
{
	struct sembuf one = { number, change, flags };

	return semop(set, &one, 1);
}

static void values(int set)
{
	unsigned short found[3];
	int pids[3];

	semctl(set, 0, GETALL, (union semun){ .array = found });
	for (int each = 0; each < 3; each++)
		pids[each] = semctl(set, each, GETPID) == getpid();
	printf("  values %d %d %d, mine %d %d %d\n", found[0], found[1], found[2], pids[0], pids[1], pids[2]);
	fflush(stdout);
}

/* Wait until so many wait for a semaphore. */
static void until(int set, int number, int command, int count)
{
	while (semctl(set, number, command) != count)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

static void note(int number)
{
	(void)number;
}

static int ended(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void sets(void)
{
	struct sembuf several[3] = { { 0, 2, 0 }, { 1, -1, IPC_NOWAIT }, { 2, 1, 0 } };
	unsigned short all[3] = { 7, 8, 9 };
	struct semid_ds found;
	int set = semget(IPC_PRIVATE, 3, 0640), keyed;
	key_t key = 0x5d000000 + getpid();

	say("made", set >= 0);
	say("none", semget(key, 1, 0));
	keyed = semget(key, 2, IPC_CREAT | IPC_EXCL | 0600);
	say("keyed", keyed >= 0);
	say("again", semget(key, 2, IPC_CREAT | IPC_EXCL | 0600));
	say("the same", semget(key, 0, 0) == keyed);
	say("too many", semget(key, 3, 0));
	say("nothing", semget(IPC_PRIVATE, 0, 0600));
	say("below nothing", semget(IPC_PRIVATE, -1, 0600));
	say("remove", semctl(keyed, 0, IPC_RMID));
	say("removed", semctl(keyed, 0, GETVAL));
	say("operate on the removed", operate(keyed, 0, 1, 0));
	say("add", operate(set, 0, 3, 0));
	say("take", operate(set, 0, -2, 0));
	say("not 0", operate(set, 0, 0, IPC_NOWAIT));
	say("too much", operate(set, 0, -2, IPC_NOWAIT));
	say("beyond", operate(set, 3, 1, 0));
	say("above all", operate(set, 0, 32767, 0));
	say("no operations", semop(set, several, 0));
	say("many operations", semop(set, several, 501));
	say("bad address", semop(set, (void *)8, 1));
	say("several", semop(set, several, 3));
	values(set);
	say("set one", semctl(set, 1, SETVAL, (union semun){ .val = 1 }));
	say("several", semop(set, several, 3));
	values(set);
	say("set one too high", semctl(set, 1, SETVAL, (union semun){ .val = 32768 }));
	say("set one below 0", semctl(set, 1, SETVAL, (union semun){ .val = -1 }));
	say("set another", semctl(set, 3, SETVAL, (union semun){ .val = 1 }));
	say("set all", semctl(set, 0, SETALL, (union semun){ .array = all }));
	values(set);
	say("value", semctl(set, 2, GETVAL));
	say("no command", semctl(set, 0, 99));
	say("stat", semctl(set, 0, IPC_STAT, (union semun){ .buf = &found }));
	printf("  times %d %d\n", found.sem_otime > 1700000000, found.sem_ctime >= found.sem_otime);
	found.sem_otime = found.sem_ctime = 0;
	hide_permission(&found.sem_perm);
	show("  bytes", &found, sizeof found - 16);
	say("remove", semctl(set, 0, IPC_RMID));
}

static void waits(void)
{
	struct timespec soon = { 0, 2000000 }, bad = { 0, 1000000000 };
	struct sembuf take = { 0, -1, 0 }, both[2] = { { 0, -1, 0 }, { 1, -1, 0 } };
	int set = semget(IPC_PRIVATE, 3, 0600);
	pid_t child, other;

	say("in time", semtimedop(set, &take, 1, &soon));
	say("bad time", semtimedop(set, &take, 1, &bad));
	if (!(child = fork()))
		_exit(operate(set, 0, -1, 0));
	until(set, 0, GETNCNT, 1);
	say("give", operate(set, 0, 1, 0));
	say("taken", ended(child));
	say("nobody waits", semctl(set, 0, GETNCNT));
	operate(set, 2, 1, 0);
	if (!(child = fork()))
		_exit(operate(set, 2, 0, 0));
	until(set, 2, GETZCNT, 1);
	say("to 0", operate(set, 2, -1, 0));
	say("is 0", ended(child));
	if (!(child = fork()))
		_exit(semop(set, both, 2));
	until(set, 0, GETNCNT, 1);
	say("the first", operate(set, 0, 1, 0));
	until(set, 1, GETNCNT, 1);
	values(set);
	say("the second", operate(set, 1, 1, 0));
	say("both", ended(child));
	values(set);
	if (!(child = fork())) {
		sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = note, .sa_flags = SA_RESTART }, NULL);
		_exit(operate(set, 0, -1, 0) ? errno : 0);
	}
	until(set, 0, GETNCNT, 1);
	kill(child, SIGUSR1);
	say("a signal", ended(child) == EINTR);
	if (!(child = fork())) {
		operate(set, 0, 5, SEM_UNDO);
		operate(set, 0, -2, SEM_UNDO);
		operate(set, 1, 4, SEM_UNDO);
		semctl(set, 1, SETVAL, (union semun){ .val = 6 });
		operate(set, 2, 3, 0);
		if (!(other = fork()))
			_exit(0);
		ended(other);
		_exit(semctl(set, 0, GETVAL));
	}
	say("undo later", ended(child));
	values(set);
	if (!(child = fork()))
		_exit(operate(set, 0, -1, 0) ? errno : 0);
	until(set, 0, GETNCNT, 1);
	say("remove", semctl(set, 0, IPC_RMID));
	say("removed", ended(child) == EIDRM);
}

struct message { long type; char text[64]; };

static long put(int queue, long type, const char *text, int flags)
{
	struct message sent = { .type = type };

	strcpy(sent.text, text);
	return msgsnd(queue, &sent, strlen(text), flags);
}

static void take(const char *what, int queue, size_t size, long type, int flags)
{
	struct message got = { 0, "" };
	long result = msgrcv(queue, &got, size, type, flags);

	say(what, result);
	if (result >= 0)
		printf("  type %ld: %s\n", got.type, got.text);
	fflush(stdout);
}

static void queues(void)
{
	static char large[9000] = { [7] = 1 };
	struct msqid_ds found;
	int queue = msgget(IPC_PRIVATE, 0600), keyed, status;
	key_t key = 0x5e000000 + getpid();
	pid_t child;

	say("made", queue >= 0);
	say("none", msgget(key, 0));
	keyed = msgget(key, IPC_CREAT | 0600);
	say("the same", msgget(key, IPC_CREAT | 0600) == keyed);
	say("again", msgget(key, IPC_CREAT | IPC_EXCL | 0600));
	say("remove", msgctl(keyed, IPC_RMID, NULL));
	say("removed", msgsnd(keyed, large, 1, 0));
	say("type 0", put(queue, 0, "x", 0));
	say("too long", msgsnd(queue, large, 8193, 0));
	say("below 0", msgsnd(queue, large, -1, 0));
	say("bad address", msgsnd(queue, (void *)8, 1, 0));
	say("put", put(queue, 3, "three", 0));
	say("put", put(queue, 1, "one", 0));
	say("put", put(queue, 2, "two", 0));
	say("put", put(queue, 3, "drei", 0));
	say("put", put(queue, 9, "", 0));
	take("short", queue, 2, 3, 0);
	take("cut", queue, 2, 3, MSG_NOERROR);
	take("of a type", queue, 64, 3, 0);
	take("lowest", queue, 64, -2, 0);
	take("but those", queue, 64, 2, MSG_EXCEPT);
	take("first", queue, 64, 0, 0);
	take("nothing", queue, 64, 0, IPC_NOWAIT);
	take("none of the type", queue, 64, 5, IPC_NOWAIT);
	put(queue, 4, "four", 0);
	put(queue, 5, "fives", 0);
	say("stat", msgctl(queue, IPC_STAT, &found));
	printf("  times %d %d %d, received by %d\n", found.msg_stime > 1700000000, found.msg_rtime > 1700000000,
	       found.msg_ctime > 1700000000, found.msg_lrpid == getpid()); /* qemu-s390x leaves the sender out */
	found.msg_stime = found.msg_rtime = found.msg_ctime = found.msg_lspid = found.msg_lrpid = 0;
	hide_permission(&found.msg_perm);
	show("  bytes", &found, sizeof found - 16);
	msgctl(queue, IPC_STAT, &found);
	found.msg_qbytes = 12;
	say("smaller", msgctl(queue, IPC_SET, &found));
	say("full", put(queue, 1, "more", IPC_NOWAIT));
	say("fits", put(queue, 1, "mor", IPC_NOWAIT));
	if (!(child = fork()))
		_exit(put(queue, 7, "waited", 0) ? errno : 0);
	take("to the child", queue, 64, 4, 0);
	take("to the child", queue, 64, 5, 0);
	take("of the child", queue, 64, 7, 0);
	say("sent", ended(child));
	take("rest", queue, 64, 0, 0);
	if (!(child = fork())) {
		take("of the parent", queue, 64, 8, 0);
		_exit(0);
	}
	nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	put(queue, 8, "eight", 0);
	say("taken", ended(child));
	if (!(child = fork()))
		_exit(msgrcv(queue, large, 64, 8, 0) < 0 ? errno : 0);
	nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
	say("remove", msgctl(queue, IPC_RMID, NULL));
	waitpid(child, &status, 0);
	say("removed", WEXITSTATUS(status) == EIDRM || WEXITSTATUS(status) == EINVAL);
}

static void several(void)
{
	char text[4][8];
	struct iovec parts[4];
	struct mmsghdr heads[4];
	struct timespec late = { 60, 0 }; /* looked at behind each message, however slow the machine is */
	int ends[2], got;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
	for (int each = 0; each < 4; each++) {
		parts[each] = (struct iovec){ text[each], 8 };
		heads[each] = (struct mmsghdr){ { .msg_iov = &parts[each], .msg_iovlen = 1 }, 99 };
	}
	for (int each = 0; each < 3; each++)
		write(ends[0], "message" + each, 7 - each);
	say("two", recvmmsg(ends[1], heads, 2, 0, NULL));
	say("the rest", got = recvmmsg(ends[1], heads + 2, 2, MSG_WAITFORONE, NULL));
	for (int each = 0; each < 4; each++)
		printf("  %u %.*s\n", heads[each].msg_len, each < 3 ? (int)heads[each].msg_len : 0, text[each]);
	say("nothing", recvmmsg(ends[1], heads, 2, MSG_DONTWAIT, NULL));
	write(ends[0], "x", 1);
	write(ends[0], "y", 1);
	say("in time", recvmmsg(ends[1], heads, 2, 0, &late));
	say("bad descriptor", recvmmsg(99, heads, 2, 0, NULL));
}

int main(void)
{
	sets();
	waits();
	queues();
	several();
	return 0;
}
