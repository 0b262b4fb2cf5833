// What the operators in C share: bfloat16 in memory, float32 in registers of 16 lanes, and 2^x.
// Needs AVX-512 F, BW, VL and BF16.
#pragma once
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };

typedef uint16_t bfloat16;

// The lanes that hold values where `left` are left of a row.
static inline __mmask16 lanes(int64_t left) { return left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1); }

// A bfloat16 is the upper half of the float32 of the same value. Lanes that are not in `mask` are 0, and are not read.
static inline __m512 load_bfloat16(__mmask16 mask, const bfloat16* from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

static inline float bfloat16_value(bfloat16 value) {
  return _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32((int32_t)((uint32_t)value << 16))));
}

// Rounded to nearest, ties to even.
static inline void store_bfloat16(bfloat16* to, __mmask16 mask, __m512 values) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(values));
}

// 2^x by its exponent, and a polynomial between -1/2 and 1/2 with a relative error below 2^-18; bfloat16's is 2^-8.
// Exactly 0 below 2^-126, -infinity too: no result is denormal, which some processors take a hundred cycles for.
static inline __m512 exp2_lanes(__m512 x) {
  const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.f), _CMP_NLT_UQ);  // true for NaN, which stays one
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 part = _mm512_sub_ps(x, whole);
  __m512 power = _mm512_fmadd_ps(part, _mm512_set1_ps(0.0095701f), _mm512_set1_ps(0.05591786f));
  power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.24024745f));
  power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.69312181f));
  power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.99999926f));
  return _mm512_maskz_scalef_ps(normal, power, whole);
}
