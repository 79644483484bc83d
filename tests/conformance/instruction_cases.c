/*
 * Runs single instructions, each from a state of its own, and writes what each leaves to standard output.
 *
 * The instructions are in cases.bin, the states in states.bin; tests/support/instructions390_support.py makes both.
 * An instruction stands in a stub, which loads register 15 and goes to `untaken` behind the instruction, and to `taken`
 * where the instruction branches. A signal's handler notes it and has the stub end as if nothing were.
 */

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ucontext.h>
#include <unistd.h>

#define OPERAND_BYTES 768

struct registers {
	uint64_t general[16];
	unsigned char vector[32][16];
	uint32_t floating_control;
	uint32_t program_mask; /* and the condition code, as SPM takes them and IPM gives them */
	uint32_t access[16];   /* the first two are the thread pointer, and left alone */
};

struct state {
	struct registers registers;
	unsigned char operands[OPERAND_BYTES];
};

struct outcome {
	int32_t signal, code;
	uint64_t address;
	int64_t behind; /* how far behind the start of the instruction the signal found the program */
	uint64_t taken;
	struct state state;
};

extern const struct state first_state[], last_state[];
extern const unsigned char first_stub[], untaken[], taken[];
unsigned char operands[262144] __attribute__((section(".operands"), aligned(4096)));
struct registers now __attribute__((section(".now"), aligned(4096)));
struct outcome outcome;
struct { uint64_t general[10], floating[8]; uint32_t access[2]; } kept;
static const unsigned char *stub;
static unsigned char signal_stack[65536] __attribute__((aligned(16)));

#define STUB_BYTES 24
#define INSTRUCTION 6 /* where it stands in its stub */

__asm__(
"	.section .states, \"a\"\n"
"	.balign 8\n"
"first_state: .incbin \"states.bin\"\n"
"last_state:\n"
"	.section .cases, \"ax\"\n"
"	.balign 4096\n"
"	jg untaken\n	.balign 8\n	jg taken\n	.balign 8\n" /* where stubs go */
/* what EX and EXRL execute, eight bytes each */
"	mvc 0(1,%r12),0(%r13)\n	.short 0\n"
"	clc 0(1,%r12),0(%r13)\n	.short 0\n"
"	xc 0(1,%r12),0(%r13)\n	.short 0\n"
"	tr 0(1,%r12),0(%r13)\n	.short 0\n"
"	trt 0(1,%r12),0(%r13)\n	.short 0\n"
"	ahi %r0,1\n	.long 0\n"
"	lr %r0,%r1\n	.short 0,0,0\n"
"	ap 0(1,%r12),0(1,%r13)\n	.short 0\n"
"	.balign 4096\n"
"first_stub: .incbin \"cases.bin\"\n"
"	.text\n"
"	.macro keep_general\n"
"	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
"	stgrl %r\\number, outcome + 32 + 8 * \\number\n"
"	.endr\n"
"	.endm\n"
"	.globl run_stub\n"
"run_stub:\n"
"	larl %r1, kept\n"
"	stmg %r6, %r15, 0(%r1)\n"
"	stam %a0, %a1, 144(%r1)\n"
"	.irp number, 8, 9, 10, 11, 12, 13, 14, 15\n"
"	std %f\\number, 80 + 8 * (\\number - 8)(%r1)\n"
"	.endr\n"
"	lgr %r15, %r2\n"
"	larl %r1, now\n"
"	lfpc 640(%r1)\n"
"	lam %a2, %a15, 656(%r1)\n"
"	vlm %v0, %v15, 128(%r1)\n"
"	vlm %v16, %v31, 384(%r1)\n"
"	l %r2, 644(%r1)\n"
"	spm %r2\n"
"	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14\n"
"	lgrl %r\\number, now + 8 * \\number\n"
"	.endr\n"
"	br %r15\n"
"untaken:\n"
"	keep_general\n"
"	lghi %r0, 0\n"
"	j 1f\n"
"taken:\n"
"	keep_general\n"
"	lghi %r0, 1\n"
"1:	lghi %r2, 0\n"
"	ipm %r2\n"
"	larl %r1, outcome + 32\n"
"	stgrl %r0, outcome + 24\n"
"	st %r2, 644(%r1)\n"
"	stfpc 640(%r1)\n"
"	vstm %v0, %v15, 128(%r1)\n"
"	vstm %v16, %v31, 384(%r1)\n"
"	stam %a0, %a15, 648(%r1)\n"
"	lghi %r2, 0\n"
"	sfpc %r2\n"
"	spm %r2\n"
"	larl %r1, kept\n"
"	.irp number, 8, 9, 10, 11, 12, 13, 14, 15\n"
"	ld %f\\number, 80 + 8 * (\\number - 8)(%r1)\n"
"	.endr\n"
"	lam %a0, %a1, 144(%r1)\n"
"	lmg %r6, %r15, 0(%r1)\n"
"	br %r14\n");

extern void run_stub(const void *stub);

static void note(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	outcome.signal = number;
	outcome.code = info->si_code;
	outcome.address = (uint64_t)info->si_addr;
	outcome.behind = interrupted->uc_mcontext.psw.addr - (uint64_t)(stub + INSTRUCTION);
	interrupted->uc_mcontext.psw.addr = (uint64_t)untaken;
}

int main(void)
{
	static const int signals[] = { SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP };
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof signal_stack };

	sigaltstack(&stack, NULL);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
	for (unsigned i = 4096; i < sizeof operands; i++) /* what translations take for a table */
		operands[i] = i * 167 >> 3;
	stub = first_stub;
	for (const struct state *state = first_state; state < last_state; state++, stub += STUB_BYTES) {
		memset(&outcome, 0, sizeof outcome);
		now = state->registers;
		memcpy(operands, state->operands, OPERAND_BYTES);
		run_stub(stub);
		memcpy(outcome.state.operands, operands, OPERAND_BYTES);
		if (write(1, &outcome, sizeof outcome) != sizeof outcome)
			return 1;
	}
	return 0;
}
