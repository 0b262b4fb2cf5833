// Residual and norm in bfloat16, as torch_add_norm in norm.py computes it: sum, mean and variance are float32.
#include <math.h>

#include "avx512.h"

static inline __m512 sum_at(const bfloat16* hidden_D, const bfloat16* update_D, __mmask16 mask) {
  return _mm512_add_ps(load_bfloat16(mask, hidden_D), load_bfloat16(mask, update_D));
}

// normed_RD = norm(hidden_RD + update_RD), rows `low` to `high`. A row is summed anew in each of three passes, which
// read it from the nearest cache: so it may have any size.
void rookery_add_norm(const bfloat16* hidden_RD, const bfloat16* update_RD, const bfloat16* weight_D,
                      const bfloat16* bias_D, float epsilon, int64_t size, bfloat16* normed_RD, int64_t low,
                      int64_t high) {
  for (int64_t row = low; row < high; ++row) {
    const bfloat16 *hidden_D = hidden_RD + row * size, *update_D = update_RD + row * size;
    __m512 total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int64_t d = 0; d < size; d += LANES)
      total = _mm512_add_ps(total, sum_at(hidden_D + d, update_D + d, lanes(size - d)));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / (float)size);
    for (int64_t d = 0; d < size; d += LANES) {
      const __mmask16 mask = lanes(size - d);
      const __m512 centred = _mm512_maskz_sub_ps(mask, sum_at(hidden_D + d, update_D + d, mask), mean);
      squares = _mm512_fmadd_ps(centred, centred, squares);
    }
    const __m512 scale = _mm512_set1_ps(1 / sqrtf(_mm512_reduce_add_ps(squares) / (float)size + epsilon));
    for (int64_t d = 0; d < size; d += LANES) {
      const __mmask16 mask = lanes(size - d);
      const __m512 centred = _mm512_sub_ps(sum_at(hidden_D + d, update_D + d, mask), mean);
      const __m512 weight = load_bfloat16(mask, weight_D + d), bias = load_bfloat16(mask, bias_D + d);
      store_bfloat16(normed_RD + row * size + d, mask, _mm512_fmadd_ps(_mm512_mul_ps(centred, scale), weight, bias));
    }
  }
}
