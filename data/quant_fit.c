/* SPDX-License-Identifier: Apache-2.0 */
/* quant_fit: the search for a scale and an offset. */
#include "data/quant_fit.h"

static float weighted_error(const float *x, const float *weight, const uint8_t *code, float scale,
                            float min) {
    float sum = 0;
    for (int i = 0; i < 32; i++) {
        float diff = scale * (float)code[i] + min - x[i];
        sum += weight[i] * (diff * diff);
    }
    return sum;
}

float quant_fit_offset(struct quant_search s, const float *x, const float *weight, uint8_t *code,
                       float *offset) {
    float min = x[0], max = x[0], sum_w = weight[0], sum_x = weight[0] * x[0];
    for (int i = 1; i < 32; i++) {
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
        sum_w += weight[i];
        sum_x += weight[i] * x[i];
    }
    if (min > 0) min = 0;
    *offset = -min;
    memset(code, 0, 32);
    if (max == min) return 0;
    float inverse = (float)s.max / (max - min), scale = 1 / inverse;
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)quant_clamp(quant_round(inverse * (x[i] - min)), 0, s.max);
    float best = weighted_error(x, weight, code, scale, min);
    for (int t = 0; t <= s.steps; t++) {
        /* ggml measures the range from the best minimum so far, which moves as better fits are found. */
        inverse = (s.first + s.step * (float)t + (float)s.max) / (max - min);
        uint8_t trial[32];
        float sum_q = 0, sum_qq = 0, sum_xq = 0;
        for (int i = 0; i < 32; i++) {
            int q = quant_clamp(quant_round(inverse * (x[i] - min)), 0, s.max);
            float wq = weight[i] * (float)q;
            trial[i] = (uint8_t)q;
            sum_q += wq;
            sum_qq += wq * (float)q;
            sum_xq += wq * x[i];
        }
        float det = sum_w * sum_qq - sum_q * sum_q;
        if (!(det > 0)) continue;
        float trial_scale = (sum_w * sum_xq - sum_x * sum_q) / det;
        float trial_min = (sum_qq * sum_x - sum_q * sum_xq) / det;
        if (trial_min > 0) {
            trial_min = 0;
            trial_scale = sum_xq / sum_qq;
        }
        float error = weighted_error(x, weight, trial, trial_scale, trial_min);
        if (!(error < best)) continue;
        memcpy(code, trial, sizeof trial);
        best = error;
        scale = trial_scale;
        min = trial_min;
    }
    *offset = -min;
    return scale;
}
