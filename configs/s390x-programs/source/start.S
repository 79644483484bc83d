/* Where a program begins, and what cannot be written in C. */
	.text

/* The kernel leaves argc, argv, the environment and the auxiliary vector on the stack. */
	.globl	_start
	.hidden	_start
	.type	_start, @function
_start:
	lgr	%r2, %r15
	aghi	%r15, -160
	xc	0(8,%r15), 0(%r15)
	brasl	%r14, start
	.size	_start, .-_start

/* long start_thread(void *stack, unsigned long flags, int *parent_tid, int *child_tid, unsigned long tls)
   At the top of the stack, above the save area of 160 bytes, stand a function and its argument. */
	.globl	start_thread
	.hidden	start_thread
	.type	start_thread, @function
start_thread:
	svc	120		/* clone */
	ltgr	%r2, %r2
	bnzr	%r14
	lg	%r1, 160(%r15)
	lg	%r2, 168(%r15)
	basr	%r14, %r1
	lghi	%r2, 0
	svc	1		/* exit: this thread alone */
	.size	start_thread, .-start_thread

/* An empty stack of its own that nobody may execute. */
	.section .note.GNU-stack, "", @progbits
