/* What the movability test asks of machine code. x86_insn.c and x86_code.c answer, or a64_insn.c and a64_code.c. */
#ifndef GOLIB_CODE_H
#define GOLIB_CODE_H

#include "movable.h"

/* JUDGES_CALLS: whether a function may be left is told for each of its calls, not for all of it. */
#if defined(__x86_64__)
/* rbx, rbp, r12 to r15 outlive a call; rdi, rsi, rdx, rcx, r8, r9 are its arguments. */
#define GOLIB_SAVED_BY_CALLEE 0xf028u
#define GOLIB_ARGUMENTS 0x03c6u
#define GOLIB_FIRST_ARGUMENT 0x0080u
enum { GOLIB_CODE_ALIGN = 1, GOLIB_DIRECT_BYTES = 5, GOLIB_JUDGES_CALLS = 0 };
#elif defined(__aarch64__)
/* x19 to x29 outlive a call; x0 to x8 are its arguments. */
#define GOLIB_SAVED_BY_CALLEE 0x3ff80000u
#define GOLIB_ARGUMENTS 0x01ffu
#define GOLIB_FIRST_ARGUMENT 0x0001u
enum { GOLIB_CODE_ALIGN = 4, GOLIB_DIRECT_BYTES = 4, GOLIB_JUDGES_CALLS = 1 };
#else
#error "machine code of this CPU"
#endif

/* The effect of one instruction on a set of registers that hold a thread-local address. */
typedef struct golib_insn {
    int length;             /* 0: not understood */
    enum { GOLIB_NEXT, GOLIB_CALL, GOLIB_JUMP, GOLIB_BRANCH, GOLIB_END, GOLIB_UNKNOWN_JUMP } flow;
    const uint8_t *target;  /* of a direct jump or branch */
    uint32_t tainted;       /* registers that hold such an address afterwards */
    int spilled;            /* it went to memory, or where we do not follow */
    int is_read;            /* the instruction reads one of them (told where GOLIB_JUDGES_CALLS) */
} golib_insn;

golib_insn golib_decode(const uint8_t *at, const uint8_t *end, uint32_t tainted);

/* The target of a direct call or jump at p, of which GOLIB_DIRECT_BYTES are looked at; NULL: it is none. */
const uint8_t *golib_direct_target(const uint8_t *p);

/* Does the code after the call at p put the answer at `offset` of some object? */
int golib_answer_is_kept_at(const uint8_t *call, size_t offset);

#endif
