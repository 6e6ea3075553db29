/* SPDX-License-Identifier: Apache-2.0 */
/* Times in microseconds, kept with a relative error of at most 1/32. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_FINE_BITS 5
#define HISTOGRAM_SLOTS     ((64 - HISTOGRAM_FINE_BITS + 1) << HISTOGRAM_FINE_BITS)

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t slots[HISTOGRAM_SLOTS];
};

/* Values below 2^FINE_BITS have a slot each; above, each power of two has 2^FINE_BITS slots. */
static inline unsigned histogram_slot(uint64_t value)
{
    if (value < 1u << HISTOGRAM_FINE_BITS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
    return (shift << HISTOGRAM_FINE_BITS) + (unsigned)(value >> shift);
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->slots[histogram_slot(value)]++;
    if (value > h->max)
        h->max = value;
}

/* The value that `share` (0 .. 1) of all are not above. */
static inline uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += h->slots[i];
        if (seen > wanted || (seen == h->count && seen > 0)) {
            if (i < 1u << HISTOGRAM_FINE_BITS)
                return i;
            unsigned shift = (i >> HISTOGRAM_FINE_BITS) - 1;
            uint64_t low = (i & ((1u << HISTOGRAM_FINE_BITS) - 1)) | 1u << HISTOGRAM_FINE_BITS;
            uint64_t top = ((low + 1) << shift) - 1;
            return top < h->max ? top : h->max;
        }
    }
    return 0;
}

#endif
