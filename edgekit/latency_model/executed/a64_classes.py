"""Tells the class of an A64 instruction from its word: what a core's issue table is written in.

Classes follow the tables of Arm's software optimisation guides. A vector class ends in `_q` for 128
bits and `_d` for 64; loads and stores say how many registers, and of which width. Encodings: Arm
Architecture Reference Manual, chapter C4.
"""

from __future__ import annotations

from functools import lru_cache

_MULTIPLE = {0b0000: 4, 0b0010: 4, 0b0100: 3, 0b0110: 3, 0b0111: 1, 0b1000: 2, 0b1010: 2}
_INTERLEAVED = {0b0000, 0b0100, 0b1000}


@lru_cache(maxsize=1 << 16)
def class_of(word: int) -> str:
    """Return the class of one instruction word; what is not known is `alu`, the commonest."""
    group = word >> 25 & 15
    if group & 0b0101 == 0b0100:
        return _memory(word)
    if group & 0b0111 == 0b0111:
        return _vector(word) if not word >> 31 and (word >> 24 & 31) in (14, 15) else _scalar(word)
    if group & 0b1110 == 0b1010:
        return "nop" if word >> 12 == 0xD5032 else "branch"
    if group & 0b0111 == 0b0101:
        return _integer(word)
    return "alu"


def _integer(word: int) -> str:
    if word >> 24 & 31 == 0b11011:  # three sources: mul, madd, smull
        return "multiply_x" if word >> 31 else "multiply_w"
    if word >> 21 & 0x3FF == 0b0011010110 and word >> 11 & 31 == 1:
        return "divide"
    shifted = word >> 24 & 31 in (0b01010, 0b01011) and (word >> 10 & 63 or word >> 21 & 1)
    return "alu_shift" if shifted else "alu"


def _memory(word: int) -> str:
    vector, kind = word >> 26 & 1, word >> 28 & 3
    if kind == 0 and vector:
        return _structure(word)
    load = "load" if word >> 22 & 1 else "store"
    if kind == 0:
        return f"{load}_1x"
    if kind == 1:
        return "load_1x"
    if kind == 2:
        width = {0: "s", 1: "d", 2: "q"}.get(word >> 30, "x") if vector else "x"
        return f"{load}_2{width}"
    size, opc = word >> 30, word >> 22 & 3
    if vector:
        return f"{load}_1{'q' if opc & 2 else 'd'}"
    if size == 3 and opc == 2:
        return "prefetch"
    return "store_1x" if opc == 0 else "load_1x"


def _structure(word: int) -> str:
    """Loads and stores of vector structures: ld1 to ld4, lanes, replication."""
    load = "load" if word >> 22 & 1 else "store"
    width = "q" if word >> 30 & 1 else "d"
    if word >> 24 & 1:  # a single structure: to a lane, or replicated
        return f"{load}_lane"
    opcode = word >> 12 & 15
    mixed = "_interleaved" if opcode in _INTERLEAVED else ""
    return f"{load}_{_MULTIPLE.get(opcode, 1)}{width}{mixed}"


def _scalar(word: int) -> str:
    """Scalar floating point, and the scalar forms of vector instructions."""
    if word >> 30 & 1:
        return "int_alu_d"
    if word >> 24 & 1:
        return "fp_mul_d"  # fmadd
    if word >> 10 & 3 == 2:
        opcode = word >> 12 & 15
        return "fp_div_d" if opcode == 1 else "fp_mul_d" if opcode in (0, 8) else "fp_add_d"
    if word >> 10 & 63 == 0:
        return "transfer"  # to and from the integer registers, with or without conversion
    return "fp_add_d"


def _vector(word: int) -> str:
    name = _indexed_or_shift(word) if word >> 24 & 1 else _vector_class(word)
    return name if name == "transfer" else f"{name}_{'q' if word >> 30 & 1 else 'd'}"


def _indexed_or_shift(word: int) -> str:
    unsigned, opcode = word >> 29 & 1, word >> 12 & 15
    if word >> 10 & 1:
        if word >> 19 & 15 == 0:
            return "int_alu"  # a modified immediate
        return "fp_cvt" if word >> 11 & 31 in (0b11100, 0b11111) else "shift"
    if opcode in (1, 5, 9):
        return "fp_mul"
    if opcode == 14:
        return "dot"
    if opcode in (2, 3, 6, 7, 10, 11):
        return "int_mul_long"
    return "fp_mul" if opcode in (0, 4) and not unsigned else "int_mul"


def _vector_class(word: int) -> str:
    low = word >> 10 & 3
    if word >> 21 & 1:
        if low & 1:
            return _three_same(word)
        if low == 0:
            return _three_different(word)
        return _two_or_across(word)
    if low & 1:
        if word >> 15 & 1:  # three same, extra
            return {2: "dot", 3: "dot", 4: "matrix"}.get(word >> 11 & 15, "int_mul")
        if word >> 22 & 3 in (1, 3):  # half precision
            return {0b011: "fp_mul", 0b001: "fp_mul"}.get(word >> 11 & 7, "fp_add")
        if word >> 21 & 0x7F == 0b1110000:  # copies
            lane = word >> 29 & 1 or word >> 11 & 15 == 0
            return "permute" if lane else "transfer"
        return "int_alu"
    if low == 2:
        return "zip" if word >> 12 & 3 != 2 else "permute"
    return "permute"  # ext, tbl


def _three_same(word: int) -> str:
    opcode, unsigned = word >> 11 & 31, word >> 29 & 1
    if opcode in (8, 9, 10, 11):
        return "shift"
    if opcode in (18, 19, 22):
        return "int_mul"
    if opcode in (25, 27) or (opcode == 29 and not unsigned):
        return "fp_mul"
    if opcode == 31:
        return "fp_div" if unsigned else "fp_mul"
    return "fp_add" if opcode >= 24 else "int_accumulate" if opcode == 15 else "int_alu"


def _three_different(word: int) -> str:
    opcode = word >> 12 & 15
    if opcode >= 8:
        return "int_mul_long"
    return "int_accumulate" if opcode == 5 else "int_alu"


def _two_or_across(word: int) -> str:
    opcode, unsigned = word >> 12 & 31, word >> 29 & 1
    if word >> 17 & 31 == 0b11000:
        return "reduce"
    if opcode in (0, 1):
        return "permute"
    if opcode == 6:
        return "int_accumulate"
    if opcode in (18, 19, 20):
        return "shift"  # narrowing, and shll
    if opcode in (22, 23) or 24 <= opcode <= 29:
        return "fp_cvt"
    return "fp_div" if opcode == 31 and unsigned else "int_alu"
