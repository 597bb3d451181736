//! Copying and filling memory, by the names under which compiled code calls for it.
//!
//! Those of the compiler's library are unrolled for speed and take 4 KB; these take 150 bytes. They
//! move words where both ends are aligned, else bytes: what a device copies are messages of a
//! thousand bytes. Names and arguments are those of the Run-time ABI for the Arm Architecture
//! (IHI 0043), 4.3.4.

use core::arch::global_asm;

global_asm!(
    ".syntax unified",
    ".section .text.copies, \"ax\", %progbits",
    ".irp name, memcpy, memmove, __aeabi_memcpy, __aeabi_memcpy4, __aeabi_memcpy8, \
         __aeabi_memmove, __aeabi_memmove4, __aeabi_memmove8",
    ".global \\name",
    ".type \\name, %function",
    ".thumb_func",
    "\\name:",
    ".endr",
    "mov r3, r0",
    // Where the target begins within the source it is filled from its end.
    "subs r12, r0, r1",
    "cmp r12, r2",
    "blo 3f",
    "orr r12, r0, r1",
    "tst r12, #3",
    "bne 2f",
    "1: subs r2, #4",
    "itt hs",
    "ldrhs r12, [r1], #4",
    "strhs r12, [r3], #4",
    "bhs 1b",
    "adds r2, #4",
    "2: subs r2, #1",
    "itt hs",
    "ldrbhs r12, [r1], #1",
    "strbhs r12, [r3], #1",
    "bhs 2b",
    "bx lr",
    "3: subs r2, #1",
    "itt hs",
    "ldrbhs r12, [r1, r2]",
    "strbhs r12, [r3, r2]",
    "bhs 3b",
    "bx lr",
);

global_asm!(
    ".syntax unified",
    ".section .text.fills, \"ax\", %progbits",
    // Target and length.
    ".irp name, __aeabi_memclr, __aeabi_memclr4, __aeabi_memclr8",
    ".global \\name",
    ".type \\name, %function",
    ".thumb_func",
    "\\name:",
    ".endr",
    "movs r2, #0",
    // Target, length and byte.
    ".irp name, __aeabi_memset, __aeabi_memset4, __aeabi_memset8",
    ".global \\name",
    ".type \\name, %function",
    ".thumb_func",
    "\\name:",
    ".endr",
    "mov r3, r1",
    "mov r1, r2",
    "mov r2, r3",
    // Target, byte and length.
    ".global memset",
    ".type memset, %function",
    ".thumb_func",
    "memset:",
    "mov r3, r0",
    "uxtb r1, r1",
    "orr r1, r1, r1, lsl #8",
    "orr r1, r1, r1, lsl #16",
    "tst r0, #3",
    "bne 2f",
    "1: subs r2, #4",
    "it hs",
    "strhs r1, [r3], #4",
    "bhs 1b",
    "adds r2, #4",
    "2: subs r2, #1",
    "it hs",
    "strbhs r1, [r3], #1",
    "bhs 2b",
    "bx lr",
);
