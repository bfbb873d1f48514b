/* SPDX-License-Identifier: Apache-2.0 */
/* cases_fill: inputs by pattern, and binary16 by its definition. */
#include "tests/kernel_cases.h"

#include <float.h>
#include <math.h>

double f16_value(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double sign = h >> 15 ? -1 : 1;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

uint16_t f16_nearest(double v) {
    unsigned sign = signbit(v) ? 0x8000 : 0;
    double size = fabs(v);
    if (isnan(v)) return 0x7e00;
    if (size == 0) return (uint16_t)sign;
    if (size >= 65520) return (uint16_t)(sign | 0x7c00); /* halfway to 65536 rounds to even: infinity */
    int exponent;
    frexp(size, &exponent);
    if (exponent < -13) exponent = -13; /* subnormals have the steps of the smallest normals */
    double step = ldexp(1, exponent - 11);
    int steps = (int)nearbyint(size / step); /* 1024 .. 2048, fewer for subnormals */
    return (uint16_t)(sign | (unsigned)(((exponent + 13) << 10) + steps));
}

uint16_t f16_scale(struct operands *o, int group) {
    double random = rng_uniform(&o->rng, 0.0005, 0.05);
    switch (o->shape.pattern) {
    case PATTERN_EXACT:
        return f16_nearest(1);
    case PATTERN_OUTLIER:
        return f16_nearest(group % 7 == 0 ? 65504 : random);
    case PATTERN_MAXIMUM:
        return f16_nearest(65504);
    case PATTERN_TINY:
        return (uint16_t)(1 + rng_below(&o->rng, 1023));
    case PATTERN_ZERO_GROUPS:
        return f16_nearest(group % 3 ? random : group % 2 ? -0.0 : 0.0);
    case PATTERN_NEGATIVE:
        return f16_nearest(-random);
    case PATTERN_NONFINITE:
        return group % 11 == 0 ? 0x7e00 : f16_nearest(random);
    default:
        return f16_nearest(group % 5 == 4 ? -random : random);
    }
}

void fill_floats(struct operands *o, float *x, int n) {
    struct rng *r = &o->rng;
    double size = 1;
    for (int i = 0; i < n; i++) {
        if (i % BLOCK == 0) size = ldexp(1, (int)rng_below(r, 17) - 10);
        double v = rng_uniform(r, -size, size);
        switch (o->shape.pattern) {
        case PATTERN_EXACT:
            v = i % BLOCK == 3 ? 127 : (int)rng_below(r, 253) / 2.0 - 63;
            break;
        case PATTERN_ZEROS:
            v = i % 2 ? -0.0 : 0.0;
            break;
        case PATTERN_EQUAL:
            v = 0.7;
            break;
        case PATTERN_MAXIMUM:
            v = 30000;
            break;
        case PATTERN_MINIMUM:
            v = -30000;
            break;
        case PATTERN_ALTERNATING:
            v = i % 2 ? -3.25 : 3.25;
            break;
        case PATTERN_OUTLIER:
            v = i % BLOCK == 11 ? 1e4 : v * 1e-3;
            break;
        case PATTERN_TINY:
            v *= 1e-39;
            break;
        case PATTERN_ZERO_GROUPS:
            v = i / BLOCK % 2 ? v : 0;
            break;
        case PATTERN_NEGATIVE:
            v = -fabs(v);
            break;
        case PATTERN_NONFINITE:
            v = i % 61 == 7 ? NAN : i % 67 == 9 ? (i % 2 ? INFINITY : -INFINITY) : v;
            break;
        default:
            break;
        }
        x[i] = (float)v;
    }
}
