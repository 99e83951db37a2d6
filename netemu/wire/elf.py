"""Two tiny programs as bytes of an executable: static, a few hundred bytes, no library, one page of code.

Knows the ELF64 layout (System V gABI, chapters 4 and 5) and the machine codes of two instruction sets;
does not write files and does not run anything. A process of such a program costs about 66 kB.
"""

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_BASE: Final = 0x400000
_PAGE: Final = 0x10000  # the largest page of the two architectures
_EXECUTABLE, _LOAD, _GNU_STACK = 2, 1, 0x6474E551
_R_X, _RW = 5, 6


class Op(NamedTuple):
    """One instruction. A jump names its target; the displacement is filled in when it is laid out."""

    code: str
    text: str
    to: str = ""
    label: str = ""


# pause, as PID 1 of a pod: adopts and reaps orphans, ends on SIGTERM and SIGINT, does nothing else.
# All signals are blocked and fetched one by one, so that nothing is lost between a wait and the next one.
PAUSE_X86_64: Final = (
    Op("6a ff", "push -1                 ; the set of all signals, on the stack"),
    Op("b8 0e 00 00 00", "mov eax, 14             ; rt_sigprocmask("),
    Op("bf 02 00 00 00", "mov edi, 2              ;   SIG_SETMASK,"),
    Op("48 89 e6", "mov rsi, rsp            ;   all,"),
    Op("31 d2", "xor edx, edx            ;   NULL,"),
    Op("41 ba 08 00 00 00", "mov r10d, 8             ;   8)"),
    Op("0f 05", "syscall"),
    Op("b8 80 00 00 00", "mov eax, 128            ; rt_sigtimedwait(", label="wait"),
    Op("48 89 e7", "mov rdi, rsp            ;   all,"),
    Op("31 f6", "xor esi, esi            ;   NULL,"),
    Op("31 d2", "xor edx, edx            ;   NULL: for ever,"),
    Op("41 ba 08 00 00 00", "mov r10d, 8             ;   8)"),
    Op("0f 05", "syscall"),
    Op("83 f8 11", "cmp eax, 17             ; SIGCHLD"),
    Op("74", "je reap", to="reap"),
    Op("83 f8 0f", "cmp eax, 15             ; SIGTERM"),
    Op("74", "je exit", to="exit"),
    Op("83 f8 02", "cmp eax, 2              ; SIGINT"),
    Op("75", "jne wait", to="wait"),
    Op("b8 e7 00 00 00", "mov eax, 231            ; exit_group(", label="exit"),
    Op("31 ff", "xor edi, edi            ;   0)"),
    Op("0f 05", "syscall"),
    Op("b8 3d 00 00 00", "mov eax, 61             ; wait4(", label="reap"),
    Op("48 c7 c7 ff ff ff ff", "mov rdi, -1             ;   any child,"),
    Op("31 f6", "xor esi, esi            ;   NULL,"),
    Op("ba 01 00 00 00", "mov edx, 1              ;   WNOHANG,"),
    Op("45 31 d2", "xor r10d, r10d          ;   NULL)"),
    Op("0f 05", "syscall"),
    Op("85 c0", "test eax, eax"),
    Op("7f", "jg reap                 ; one signal may stand for several children", to="reap"),
    Op("eb", "jmp wait", to="wait"),
)

# The same on 64-bit Arm; each word as the manual prints it (stored least significant byte first).
PAUSE_AARCH64: Final = (
    Op("92800009", "mov x9, #-1"),
    Op("f81f0fe9", "str x9, [sp, #-16]!     ; the set of all signals, on the stack"),
    Op("d2800040", "mov x0, #2              ; rt_sigprocmask(SIG_SETMASK,"),
    Op("910003e1", "mov x1, sp              ;   all,"),
    Op("d2800002", "mov x2, #0              ;   NULL,"),
    Op("d2800103", "mov x3, #8              ;   8)"),
    Op("d28010e8", "mov x8, #135"),
    Op("d4000001", "svc #0"),
    Op("910003e0", "mov x0, sp              ; rt_sigtimedwait(all,", label="wait"),
    Op("d2800001", "mov x1, #0              ;   NULL,"),
    Op("d2800002", "mov x2, #0              ;   NULL: for ever,"),
    Op("d2800103", "mov x3, #8              ;   8)"),
    Op("d2801128", "mov x8, #137"),
    Op("d4000001", "svc #0"),
    Op("7100441f", "cmp w0, #17             ; SIGCHLD"),
    Op("54000000", "b.eq reap", to="reap"),
    Op("71003c1f", "cmp w0, #15             ; SIGTERM"),
    Op("54000000", "b.eq exit", to="exit"),
    Op("7100081f", "cmp w0, #2              ; SIGINT"),
    Op("54000001", "b.ne wait", to="wait"),
    Op("d2800000", "mov x0, #0              ; exit_group(0)", label="exit"),
    Op("d2800bc8", "mov x8, #94"),
    Op("d4000001", "svc #0"),
    Op("92800000", "mov x0, #-1             ; wait4(any child,", label="reap"),
    Op("d2800001", "mov x1, #0              ;   NULL,"),
    Op("d2800022", "mov x2, #1              ;   WNOHANG,"),
    Op("d2800003", "mov x3, #0              ;   NULL)"),
    Op("d2802088", "mov x8, #260"),
    Op("d4000001", "svc #0"),
    Op("7100001f", "cmp w0, #0"),
    Op("5400000c", "b.gt reap               ; one signal may stand for several children", to="reap"),
    Op("14000000", "b wait", to="wait"),
)


# mount-proc PLACE: procfs always shows the pid namespace of the process that mounts it, so somebody has to go
# there; this is a hundred times less to start than an interpreter. It exits with the errno or with 0.
MOUNT_PROC_X86_64: Final = (
    Op("48 8b 74 24 10", "mov rsi, [rsp+16]       ; argv[1], the second of mount("),
    Op("68 70 72 6f 63", 'push 0x636f7270         ; "proc" and zeros'),
    Op("48 89 e7", "mov rdi, rsp            ;   source,"),
    Op("48 89 e2", "mov rdx, rsp            ;   type,"),
    Op("41 ba 0e 00 00 00", "mov r10d, 14            ;   MS_NOSUID | MS_NODEV | MS_NOEXEC,"),
    Op("45 31 c0", "xor r8d, r8d            ;   NULL)"),
    Op("b8 a5 00 00 00", "mov eax, 165"),
    Op("0f 05", "syscall"),
    Op("89 c7", "mov edi, eax"),
    Op("f7 df", "neg edi                 ; exit_group(errno)"),
    Op("b8 e7 00 00 00", "mov eax, 231"),
    Op("0f 05", "syscall"),
)
MOUNT_PROC_AARCH64: Final = (
    Op("f9400be1", "ldr x1, [sp, #16]       ; argv[1], the second of mount("),
    Op("528e4e09", "mov w9, #0x7270"),
    Op("72ac6de9", 'movk w9, #0x636f, lsl #16 ; "proc" and zeros'),
    Op("f81f0fe9", "str x9, [sp, #-16]!"),
    Op("910003e0", "mov x0, sp              ;   source,"),
    Op("aa0003e2", "mov x2, x0              ;   type,"),
    Op("d28001c3", "mov x3, #14             ;   MS_NOSUID | MS_NODEV | MS_NOEXEC,"),
    Op("d2800004", "mov x4, #0              ;   NULL)"),
    Op("d2800508", "mov x8, #40"),
    Op("d4000001", "svc #0"),
    Op("4b0003e0", "neg w0, w0              ; exit_group(errno)"),
    Op("d2800bc8", "mov x8, #94"),
    Op("d4000001", "svc #0"),
)


def pause(machine: str) -> bytes:
    """The executable for `machine` as uname names it. ValueError when it is neither x86_64 nor aarch64."""
    return _build(machine, PAUSE_X86_64, PAUSE_AARCH64)


def mount_proc(machine: str) -> bytes:
    """Likewise."""
    return _build(machine, MOUNT_PROC_X86_64, MOUNT_PROC_AARCH64)


def _build(machine: str, x86_64: tuple[Op, ...], aarch64: tuple[Op, ...]) -> bytes:
    if machine == "x86_64":
        return _executable(62, _lay_out_x86(x86_64))
    if machine == "aarch64":
        return _executable(183, _lay_out_arm(aarch64))
    raise ValueError(f"no programs for {machine}, only for x86_64 and aarch64")


def _executable(machine: int, code: bytes) -> bytes:
    """One segment, readable and executable, holds headers and code; the stack is not executable."""
    start = _HEADER.size + 2 * _SEGMENT.size
    size = start + len(code)
    identity = b"\x7fELF" + bytes((2, 1, 1))  # 64 bits, little endian, version 1
    sizes = (_HEADER.size, _SEGMENT.size, 2, 0, 0, 0)
    header = _HEADER.pack(identity, _EXECUTABLE, machine, 1, _BASE + start, _HEADER.size, 0, 0, *sizes)
    text = _SEGMENT.pack(_LOAD, _R_X, 0, _BASE, _BASE, size, size, _PAGE)
    stack = _SEGMENT.pack(_GNU_STACK, _RW, 0, 0, 0, 0, 0, 16)
    return header + text + stack + code


def _lay_out_x86(program: tuple[Op, ...]) -> bytes:
    """Jumps are short ones: the opcode and a signed byte, counted from the end of the instruction."""
    sizes = [len(bytes.fromhex(op.code)) + bool(op.to) for op in program]
    starts = [sum(sizes[:index]) for index in range(len(program))]
    labels = {op.label: start for op, start in zip(program, starts, strict=True) if op.label}
    return b"".join(
        bytes.fromhex(op.code) + (struct.pack("b", labels[op.to] - start - size) if op.to else b"")
        for op, start, size in zip(program, starts, sizes, strict=True)
    )


def _lay_out_arm(program: tuple[Op, ...]) -> bytes:
    """Branches hold the distance in words from themselves."""
    labels = {op.label: index for index, op in enumerate(program) if op.label}

    def word(index: int, op: Op) -> int:
        plain = int(op.code, 16)
        if not op.to:
            return plain
        distance = labels[op.to] - index
        always = plain >> 26 == 0b000101
        return plain | (distance & 0x3FFFFFF if always else (distance & 0x7FFFF) << 5)

    return b"".join(struct.pack("<I", word(index, op)) for index, op in enumerate(program))
