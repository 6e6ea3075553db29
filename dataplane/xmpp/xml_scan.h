/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at sixteen bytes of XML at once: pure functions. SSE4.2 is what DPDK asks of every CPU; registers
 * of 32 bytes gain nothing where runs are as short as in chat (docs/BENCHMARKS.md).
 *
 * Near the end of the input the last sixteen bytes are loaded and what lies before p is shifted out, so
 * nothing is read beyond either end.
 */
#ifndef GW_XMPP_XML_SCAN_H
#define GW_XMPP_XML_SCAN_H

#include <stdint.h>
#include <string.h>

#include <smmintrin.h>

struct gw_xml_input {
    const uint8_t *begin, *end;
};

/* The bytes from p on are at *skip and behind; there is at least one. */
static inline __m128i gw_xml_load(const struct gw_xml_input *in, const uint8_t *p, unsigned *skip)
{
    size_t have = (size_t)(in->end - p);
    if (__builtin_expect(have >= 16, 1)) {
        *skip = 0;
        return _mm_loadu_si128((const __m128i *)p);
    }
    *skip = 16 - (unsigned)have;
    if (in->end - in->begin >= 16)
        return _mm_loadu_si128((const __m128i *)(in->end - 16));
    uint8_t copy[16] = {0};
    for (size_t i = 0; i < have; i++)
        copy[*skip + i] = p[i];
    return _mm_loadu_si128((const __m128i *)copy);
}

/* Which of sixteen bytes are letters, digits or one of ".-_": by the classes of both halves of a byte. */
static inline __m128i gw_xml_name_bytes(__m128i v)
{
    /* high half 2: 1, 3: 2, 4 and 6: 4, 5: 8, 7: 16; of each low half those in which it names such a byte;
     * the high halves of what is not ASCII have none */
    const __m128i by_high = _mm_setr_epi8(0, 0, 1, 2, 4, 8, 4, 16, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i by_low = _mm_setr_epi8(2 + 8 + 16, 2 + 4 + 8 + 16, 2 + 4 + 8 + 16, 2 + 4 + 8 + 16,
                                         2 + 4 + 8 + 16, 2 + 4 + 8 + 16, 2 + 4 + 8 + 16,
                                         2 + 4 + 8 + 16, 2 + 4 + 8 + 16, 2 + 4 + 8 + 16, 4 + 8 + 16, 4, 4,
                                         1 + 4, 1 + 4, 4 + 8);
    __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0f));
    __m128i low = _mm_and_si128(v, _mm_set1_epi8(0x0f));
    return _mm_and_si128(_mm_shuffle_epi8(by_high, high), _mm_shuffle_epi8(by_low, low));
}

/* Length of the run of such bytes from p on, at most 16; 16 also when the input ends in it. */
static inline unsigned gw_xml_name_run(const struct gw_xml_input *in, const uint8_t *p)
{
    unsigned skip;
    __m128i v = gw_xml_name_bytes(gw_xml_load(in, p, &skip));
    unsigned stop = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) >> skip;
    return (unsigned)__builtin_ctz(stop | 1u << 16);
}

/* First byte from p on that is a control, not ASCII, or one of a, b, d. Signed comparison catches both ends. */
static inline const uint8_t *gw_xml_skip_plain(const struct gw_xml_input *in, const uint8_t *p, char a,
                                               char b, char d)
{
    const __m128i low = _mm_set1_epi8(0x20), va = _mm_set1_epi8(a), vb = _mm_set1_epi8(b),
                  vd = _mm_set1_epi8(d);
    while (p < in->end) {
        unsigned skip;
        __m128i v = gw_xml_load(in, p, &skip);
        __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(v, low), _mm_cmpeq_epi8(v, va)),
                                    _mm_or_si128(_mm_cmpeq_epi8(v, vb), _mm_cmpeq_epi8(v, vd)));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop) >> skip;
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16 - skip;
    }
    return p;
}

/* First byte from p on that is one of those in `set`, whose first n bytes count. */
static inline const uint8_t *gw_xml_find_any(const struct gw_xml_input *in, const uint8_t *p, __m128i set,
                                             int n)
{
    while (p < in->end) {
        unsigned skip;
        __m128i v = gw_xml_load(in, p, &skip);
        __m128i hit = _mm_cmpestrm(set, n, v, 16, _SIDD_CMP_EQUAL_ANY | _SIDD_BIT_MASK);
        unsigned mask = (unsigned)_mm_cvtsi128_si32(hit) >> skip;
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16 - skip;
    }
    return p;
}

#endif
