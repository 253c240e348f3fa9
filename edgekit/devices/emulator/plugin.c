/*
 * Counts the aarch64 instructions of each inference, in QEMU's user mode.
 *
 *     qemu-aarch64 -plugin plugin.so,out=FILE[,blocks=FILE][,caches=LEVELS][,clock=FILE][,first=1]
 *         PROGRAM
 *
 * The program marks the beginning and the end of an inference by the system call getppid, which
 * does nothing and which nothing else of a runtime makes. Each pair of marks becomes one line of
 * `out`: instructions, vector multiply-accumulates, loads and stores, translated blocks run.
 * `blocks` gets one line per block that ran between the marks, after the first pair: how often,
 * its address, its code in hexadecimal. With `first=1` the first pair is counted too: what it sets
 * up, and caches that are empty when it begins, are then in the count.
 *
 * `caches` simulates data caches fed by the addresses the program loads and stores, between the
 * marks: LEVELS is BYTES:WAYS of each level, nearest first, joined by '/': 32768:2/1048576:16.
 * Lines are 64 bytes, replaced least recently used first, allocated on a write, written back when
 * replaced. Each line of `blocks` then ends in two numbers per level: the lines that level had to
 * fetch for the block, and the written lines it gave back. One thread's addresses are meant: with
 * more, all levels would be shared and a count might be lost.
 *
 * `clock` gets one line per look at the clock (the system call clock_gettime) between the marks:
 * which pair of marks, from 0, which thread, the instructions since the pair's first mark, and the
 * nanoseconds of this machine's own clock. A runtime that profiles itself looks before and after
 * each operator.
 *
 * Until the first mark nothing is counted, so that loading, most of what runs, costs no more than
 * without this plugin: then QEMU forgets what it has translated, and translates it anew to count.
 *
 * No QEMU header is packaged. What is declared here is the part of the plugin API (version 1,
 * QEMU 4.2 to 8.2) that this file uses; see QEMU's documentation, "TCG Plugins".
 */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef void (*on_translation)(plugin_id, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned int vcpu, void *userdata);
typedef void (*on_access)(unsigned int vcpu, uint32_t access, uint64_t address, void *userdata);
typedef void (*on_syscall)(plugin_id, unsigned int vcpu, int64_t number, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
typedef void (*on_exit)(plugin_id, void *userdata);
typedef void (*on_reset)(plugin_id);

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution, int flags,
                                                 void *userdata);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, on_access, int flags,
                                             int reads_writes, void *userdata);
extern _Bool qemu_plugin_mem_is_store(uint32_t access);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall);
extern void qemu_plugin_register_atexit_cb(plugin_id, on_exit, void *userdata);
extern void qemu_plugin_reset(plugin_id, on_reset);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
/* In user mode the "hardware" address of an instruction is where its bytes lie in this process. */
extern void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

enum { NO_REGISTERS = 0, READS_AND_WRITES = 3, GETPPID_AARCH64 = 173,
       CLOCK_GETTIME_AARCH64 = 113 };
enum { LINE_BITS = 6, MOST_LEVELS = 3 };

struct totals {
    uint64_t instructions, vector_macs, loads_stores, blocks;
};

/* Lines that each level fetched from the next, and lines it wrote back to it. */
struct traffic {
    uint64_t fetched[MOST_LEVELS], written[MOST_LEVELS];
};

struct block {
    struct block *next;
    uint64_t count, count_at_begin, counted;
    struct traffic traffic;
    uint64_t address;
    uint32_t instructions, vector_macs, loads_stores;
    uint32_t code[];
};

static struct block *blocks;
static FILE *out, *blocks_out, *clock_out;
static struct totals at_begin;
static uint64_t marks;
static uint64_t warming_marks = 2; /* the first inference is not counted in blocks and caches */
static uint64_t running, running_at_begin; /* instructions, where looks at the clock are asked for:
                                              summing all blocks at each would be milliseconds */

/* A set holds its lines most recently used first: address in lines, and a bit for "written to". */
struct cache {
    uint64_t *lines;
    uint64_t sets, mask; /* mask: sets - 1 where that is all ones, else 0 */
    unsigned int ways;
};

static struct cache caches[MOST_LEVELS];
static unsigned int levels;
static struct traffic warming;

/* One word of A64 code: Arm ARM C4.1, "Advanced SIMD ..." tables; bits 28..24 name the group. */
static int is_vector_mac(uint32_t word)
{
    uint32_t unsigned_bit = word >> 29 & 1;

    if ((word & 0x9f000400) == 0x0f000000) { /* vector by indexed element */
        uint32_t opcode = word >> 12 & 15;
        /* mla to sqdmlsl; sdot to sqrdmlsh; with the U bit fmlal2, fmlsl2, sqrdmlah */
        return opcode <= 7 || opcode >= 14 ||
               (unsigned_bit && (opcode == 8 || opcode == 12 || opcode == 13));
    }
    if ((word & 0x9f000000) != 0x0e000000) {
        return 0;
    }
    if ((word & 0x00200400) == 0x00200400) { /* three same */
        uint32_t opcode = word >> 11 & 31;
        /* mla, mls; fmla, fmls, fmlal2, fmlsl2; fmlal, fmlsl */
        return opcode == 18 || opcode == 25 || (opcode == 29 && !unsigned_bit);
    }
    if ((word & 0x00208400) == 0x00008400) { /* three same, extra */
        uint32_t opcode = word >> 11 & 15;
        return opcode != 12 && opcode != 14; /* sqrdmlah to bfmlal; those two are fcadd */
    }
    if ((word & 0x0060c400) == 0x00400400) { /* three same, half precision */
        return (word >> 11 & 7) == 1 && !unsigned_bit; /* fmla, fmls */
    }
    if ((word & 0x00200c00) == 0x00200000) { /* three different */
        uint32_t opcode = word >> 12 & 15;
        /* smlal, umlal, smlsl, umlsl; sqdmlal, sqdmlsl */
        return opcode == 8 || opcode == 10 || ((opcode == 9 || opcode == 11) && !unsigned_bit);
    }
    return 0;
}

static int is_load_or_store(uint32_t word)
{
    return (word & 0x0a000000) == 0x08000000;
}

static uint64_t *set_of(const struct cache *cache, uint64_t line)
{
    uint64_t set = cache->mask ? line & cache->mask : line % cache->sets; /* a division is slow */

    return cache->lines + set * cache->ways;
}

/* Puts a line first in its set; tells whether it was there, and the line that left for it. */
static int touch(struct cache *cache, uint64_t line, unsigned int written, uint64_t *left)
{
    uint64_t *set = set_of(cache, line);
    uint64_t entry = (line + 1) << 1; /* 0 is an empty place */
    unsigned int way = 0;

    while (way < cache->ways && (set[way] | 1) != (entry | 1)) {
        way++;
    }
    int found = way < cache->ways;
    way -= !found;
    *left = found ? 0 : set[way];
    entry = found ? set[way] | written : entry | written;
    for (; way; way--) {
        set[way] = set[way - 1];
    }
    set[0] = entry;
    return found;
}

static void pass(unsigned int level, uint64_t line, struct traffic *traffic, unsigned int written)
{
    uint64_t left;

    if (level == levels || touch(&caches[level], line, written, &left)) {
        return;
    }
    traffic->fetched[level]++;
    pass(level + 1, line, traffic, 0);
    /* A written line that leaves goes one level down, where it mostly is, and may push another. */
    while (left & 1) {
        traffic->written[level]++;
        if (++level == levels) {
            return;
        }
        touch(&caches[level], (left >> 1) - 1, 1, &left);
    }
}

static void accessed(unsigned int vcpu, uint32_t access, uint64_t address, void *userdata)
{
    (void)vcpu;
    if (marks % 2) {
        uint64_t line = address >> LINE_BITS, *first = set_of(&caches[0], line);
        unsigned int written = qemu_plugin_mem_is_store(access);

        if (*first >> 1 == line + 1) { /* most accesses: the line that was used last */
            *first |= written;
            return;
        }
        struct block *block = userdata;
        pass(0, line, marks > warming_marks ? &block->traffic : &warming, written);
    }
}

static void executed(unsigned int vcpu, void *userdata)
{
    struct block *block = userdata;

    (void)vcpu;
    __atomic_fetch_add(&block->count, 1, __ATOMIC_RELAXED);
    if (clock_out) {
        __atomic_fetch_add(&running, block->instructions, __ATOMIC_RELAXED);
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    size_t length = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block + length * sizeof block->code[0]);

    (void)id;
    if (!block) {
        fputs("edgekit plugin: out of memory\n", stderr);
        exit(1);
    }
    block->address = qemu_plugin_tb_vaddr(tb);
    block->instructions = (uint32_t)length;
    for (size_t index = 0; index < length; index++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, index);
        void *bytes = qemu_plugin_insn_haddr(instruction);
        uint32_t word;

        memcpy(&word, bytes, sizeof word);
        block->code[index] = word;
        block->vector_macs += (uint32_t)is_vector_mac(word);
        block->loads_stores += (uint32_t)is_load_or_store(word);
        if (levels && is_load_or_store(word)) {
            qemu_plugin_register_vcpu_mem_cb(instruction, accessed, NO_REGISTERS,
                                             READS_AND_WRITES, block);
        }
    }
    block->next = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&blocks, &block->next, block, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, block);
}

static struct totals sum(void)
{
    struct totals all = {0, 0, 0, 0};

    for (struct block *block = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE); block;
         block = block->next) {
        uint64_t count = __atomic_load_n(&block->count, __ATOMIC_RELAXED);
        all.instructions += count * block->instructions;
        all.vector_macs += count * block->vector_macs;
        all.loads_stores += count * block->loads_stores;
        all.blocks += count;
    }
    return all;
}

static void marked(plugin_id id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == CLOCK_GETTIME_AARCH64 && clock_out && marks % 2) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        fprintf(clock_out, "%" PRIu64 " %u %" PRIu64 " %" PRIu64 "\n", marks / 2, vcpu,
                __atomic_load_n(&running, __ATOMIC_RELAXED) - running_at_begin,
                (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    }
    if (number != GETPPID_AARCH64) {
        return;
    }
    struct totals now = sum();
    if (marks % 2 == 0) {
        at_begin = now;
        running_at_begin = running;
    } else {
        fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                now.instructions - at_begin.instructions, now.vector_macs - at_begin.vector_macs,
                now.loads_stores - at_begin.loads_stores, now.blocks - at_begin.blocks);
    }
    for (struct block *block = blocks; blocks_out && block; block = block->next) {
        if (marks % 2 == 0) {
            block->count_at_begin = block->count;
        } else if (marks > warming_marks) {
            block->counted += block->count - block->count_at_begin;
        }
    }
    marks++;
}

static void ended(plugin_id id, void *userdata)
{
    (void)id, (void)userdata;
    for (struct block *block = blocks; blocks_out && block; block = block->next) {
        if (block->counted) {
            fprintf(blocks_out, "%" PRIu64 " %" PRIx64 " ", block->counted, block->address);
            for (uint32_t index = 0; index < block->instructions; index++) {
                fprintf(blocks_out, "%08" PRIx32, block->code[index]);
            }
            for (unsigned int level = 0; level < levels; level++) {
                fprintf(blocks_out, " %" PRIu64 " %" PRIu64, block->traffic.fetched[level],
                        block->traffic.written[level]);
            }
            fputc('\n', blocks_out);
        }
    }
    if (fclose(out) || (blocks_out && fclose(blocks_out)) || (clock_out && fclose(clock_out))) {
        perror("edgekit plugin");
    }
}

/* BYTES:WAYS/BYTES:WAYS/...; tells whether that makes sense. */
static int make_caches(const char *text)
{
    for (levels = 0; *text && levels < MOST_LEVELS; levels++) {
        struct cache *cache = &caches[levels];
        unsigned long bytes;
        int read = 0;

        if (sscanf(text, "%lu:%u%n", &bytes, &cache->ways, &read) != 2 || !cache->ways) {
            return 0;
        }
        cache->sets = (bytes >> LINE_BITS) / cache->ways;
        cache->lines = calloc(cache->sets * cache->ways, sizeof *cache->lines);
        if (!cache->sets || !cache->lines) {
            return 0;
        }
        cache->mask = cache->sets & (cache->sets - 1) ? 0 : cache->sets - 1;
        text += read + (text[read] == '/');
    }
    return levels && !*text;
}

/* From the end of the first mark's system call on: before the program's next instruction. */
static void begin(plugin_id id)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, marked);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
}

static void first_mark(plugin_id id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2,
                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == GETPPID_AARCH64 && !marks) {
        marks = 1;
        qemu_plugin_reset(id, begin);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int index = 0; index < argc; index++) {
        if (!strncmp(argv[index], "out=", 4)) {
            out = fopen(argv[index] + 4, "w");
        } else if (!strncmp(argv[index], "blocks=", 7)) {
            blocks_out = fopen(argv[index] + 7, "w");
        } else if (!strncmp(argv[index], "clock=", 6)) {
            clock_out = fopen(argv[index] + 6, "w");
        } else if (!strcmp(argv[index], "first=1")) {
            warming_marks = 0;
        } else if (!strncmp(argv[index], "caches=", 7) && !make_caches(argv[index] + 7)) {
            fputs("edgekit plugin: caches=BYTES:WAYS/... cannot be made\n", stderr);
            return 1;
        }
    }
    if (!out) {
        fputs("edgekit plugin: no out=FILE that can be written\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_syscall_cb(id, first_mark);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
