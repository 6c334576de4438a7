/* Reads .pdata and .xdata: where a function begins and ends, and how to step from its frame to its caller's.
 *
 * The codes say what a prologue did, so their sum is the size of the frame. A function that moves its stack pointer later has a
 * frame register, and is not understood, which pins. Calls lie neither in prologues nor in epilogues, so what matters at a
 * return address is the whole prologue.
 */
#include "internal.h"
#include "movable.h"

enum { RBP = 5, CHAINED = 4, MOST_CHAINED = 32 };
/* Codes of a prologue's steps, and how many words some of them have. */
enum {
    PUSH = 0,
    ALLOC_LARGE = 1,
    ALLOC_SMALL = 2,
    SET_FRAME = 3,
    SAVE = 4,
    SAVE_FAR = 5,
    SAVE_XMM = 8,
    SAVE_XMM_FAR = 9
};

typedef struct {
    uint8_t version_flags, prologue, n_codes, frame;
    uint16_t codes[];
} unwind_info;

static const RUNTIME_FUNCTION *entry_of(const void *pc, uint8_t **base)
{
    DWORD64 image;
    const RUNTIME_FUNCTION *entry = RtlLookupFunctionEntry((DWORD64)(uintptr_t)pc, &image, NULL);
    *base = (uint8_t *)(uintptr_t)image;
    return entry;
}

int golib_cfi_function(const void *pc, golib_range *out)
{
    uint8_t *base;
    const RUNTIME_FUNCTION *entry = entry_of(pc, &base);
    if (!entry)
        return 0;
    *out = (golib_range){base + entry->BeginAddress, base + entry->EndAddress};
    return 1;
}

/* Adds the steps of one prologue: the frame's bytes so far, and where in them rbp was saved, from the bottom. 0: not understood. */
static int add_codes(const unwind_info *info, size_t *bytes, size_t *rbp_at, int *rbp_saved)
{
    for (unsigned i = 0; i < info->n_codes;) {
        unsigned code = info->codes[i] >> 8, what = code & 15, more = code >> 4;
        switch (what) {
        case PUSH:
            if (more == RBP) {
                *rbp_at = *bytes;
                *rbp_saved = 1;
            }
            *bytes += 8;
            i += 1;
            break;
        case ALLOC_SMALL:
            *bytes += more * 8 + 8;
            i += 1;
            break;
        case ALLOC_LARGE:
            *bytes +=
                more ? (size_t)info->codes[i + 1] | (size_t)info->codes[i + 2] << 16 : (size_t)info->codes[i + 1] * 8;
            i += more ? 3 : 2;
            break;
        case SAVE:
            if (more == RBP) {
                *rbp_at = (size_t)info->codes[i + 1] * 8;
                *rbp_saved = 1;
            }
            i += 2;
            break;
        case SAVE_FAR:
            if (more == RBP)
                return 0;
            i += 3;
            break;
        case SAVE_XMM: i += 2; break;
        case SAVE_XMM_FAR: i += 3; break;
        default: return 0;  /* a frame register, or an interrupt's frame */
        }
    }
    return 1;
}

int golib_cfi_step(const void *pc, golib_step *out)
{
    uint8_t *base;
    const RUNTIME_FUNCTION *entry = entry_of(pc, &base);
    size_t bytes = 0, rbp_at = 0;
    int rbp_saved = 0;
    for (int n = 0; entry && n < MOST_CHAINED; n++) {
        const unwind_info *info = (const unwind_info *)(base + entry->UnwindData);
        if (!add_codes(info, &bytes, &rbp_at, &rbp_saved))
            return 0;
        if (!(info->version_flags >> 3 & CHAINED)) {
            /* From the callee's CFA: that is this function's stack pointer. */
            *out = (golib_step){.cfa_off = (int32_t)bytes + 8, .ret_at = -8, .fp_saved = (uint8_t)rbp_saved};
            out->fp_at = (int32_t)rbp_at - (int32_t)bytes - 8;
            return 1;
        }
        entry = (const RUNTIME_FUNCTION *)&info->codes[(info->n_codes + 1) & ~1];
    }
    return 0;
}

int golib_cfi_is_bare(const void *pc)
{
    golib_step step;
    return golib_cfi_step(pc, &step) && step.cfa_off == 8;
}
