// What a product in 8 bits needs before it and behind it, in bfloat16: linear_int8.py has the product.
#include "avx512.h"
#include "gelu_tanh.h"

enum {
  PAIRS = 2 * LANES,  // bfloat16 values of one register
  TOP = 127,          // the largest magnitude of a rounded value
  ZERO = 128,         // that an unsigned byte stands for 0 with
};

// The bits of the largest magnitude of a row. Without their signs, values are in the order of their bits; NaN is above
// infinity.
static inline uint16_t largest(const bfloat16* x_I, int64_t size) {
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  __m512i top = _mm512_setzero_si512();
  for (int64_t i = 0; i < size; i += PAIRS) {
    const __mmask32 mask = size - i >= PAIRS ? 0xffffffff : (1u << (size - i)) - 1;
    top = _mm512_max_epu16(top, _mm512_and_si512(magnitude, _mm512_maskz_loadu_epi16(mask, x_I + i)));
  }
  // Both halves of each 32 bits, then all of them.
  const __m512i upper = _mm512_srli_epi32(top, 16), lower = _mm512_and_si512(top, _mm512_set1_epi32(0xffff));
  return (uint16_t)_mm512_reduce_max_epu32(_mm512_max_epu32(upper, lower));
}

// x_RI ~ scale_R * (rounded_RI - ZERO): each row by a scale of its own, so that it does not depend on its neighbours.
// A row that has no number, or infinity, has no finite scale.
void rookery_round_rows(const bfloat16* x_RI, int64_t size, uint8_t* rounded_RI, float* scale_R, int64_t low,
                        int64_t high) {
  for (int64_t row = low; row < high; ++row) {
    const bfloat16* x_I = x_RI + row * size;
    const float scale = bfloat16_value(largest(x_I, size)) / TOP;
    scale_R[row] = scale;
    const __m512 factor = _mm512_set1_ps(scale > 0 ? 1 / scale : 0);
    for (int64_t i = 0; i < size; i += LANES) {
      const __mmask16 mask = lanes(size - i);
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(load_bfloat16(mask, x_I + i), factor));
      const __m512i bytes = _mm512_add_epi32(whole, _mm512_set1_epi32(ZERO));
      _mm512_mask_cvtepi32_storeu_epi8(rounded_RI + row * size + i, mask, bytes);
    }
  }
}

// y_RO = y_RO * scale_R + bias_O, in place, rows `low` to `high`; with `gelu` its tanh GELU.
void rookery_scale_rows(bfloat16* y_RO, const float* scale_R, const float* bias_O, int64_t size, int gelu, int64_t low,
                        int64_t high) {
  for (int64_t row = low; row < high; ++row) {
    bfloat16* y_O = y_RO + row * size;
    const __m512 scale = _mm512_set1_ps(scale_R[row]);
    for (int64_t o = 0; o < size; o += LANES) {
      const __mmask16 mask = lanes(size - o);
      const __m512 y = _mm512_fmadd_ps(load_bfloat16(mask, y_O + o), scale, _mm512_maskz_loadu_ps(mask, bias_O + o));
      store_bfloat16(y_O + o, mask, gelu ? gelu_tanh(y) : y);
    }
  }
}
