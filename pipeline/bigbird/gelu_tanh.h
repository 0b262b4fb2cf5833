// GELU in its tanh form, of 16 lanes: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is the same.
#pragma once
#include <math.h>

#include "avx512.h"

static inline __m512 gelu_tanh(__m512 x) {
  const float linear = (float)(-2 * M_2_SQRTPI * M_SQRT1_2 * M_LOG2E);  // -2 sqrt(2 / pi), in powers of two
  const __m512 cubic = _mm512_set1_ps(0.044715f * linear);
  const __m512 factor = _mm512_fmadd_ps(_mm512_mul_ps(x, x), cubic, _mm512_set1_ps(linear));
  // No more than 2^125, so that its reciprocal is not denormal: from x = -11 on the result is 0 to bfloat16.
  const __m512 power = _mm512_min_ps(_mm512_mul_ps(x, factor), _mm512_set1_ps(125.f));
  const __m512 below = _mm512_add_ps(_mm512_set1_ps(1.f), exp2_lanes(power));
  const __m512 rough = _mm512_rcp14_ps(below);  // and one step of Newton's: a division takes no less
  return _mm512_mul_ps(x, _mm512_mul_ps(rough, _mm512_fnmadd_ps(below, rough, _mm512_set1_ps(2.f))));
}
