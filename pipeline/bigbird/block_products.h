// sums [rows, columns] = the sum over `blocks` of a's block [rows, depth] times b's block [depth, columns], or that
// added to it: bfloat16, summed as float32, with AMX's tiles or with AVX-512's vectors.
//
// Rows, depth and columns are whole multiples of STEP. A row of `a` is `a_row` values after the one above it, a block
// of it `a_block` values after the one before it, a row of sums `sums_row` values after the one above it. A block of b
// lies in pairs of rows, as both kinds of instructions take it: [depth / 2][columns][2].
#pragma once
#include <string.h>

#include "avx512.h"
#include "tiles.h"

enum {
  STEP = 32,  // two tiles side by side, and the depth of one
  // How many sums are kept in registers without tiles: 16 of the 32 there are, beside two of b and one of a.
  VECTOR_ROWS = 8,
  VECTORS = 2,
};

struct block_product {
  const bfloat16* a;
  int64_t a_row, a_block;
  const bfloat16* const* b;
  int64_t blocks, rows, depth, columns;
  float* sums;
  int64_t sums_row;
  int add;
};

static inline int64_t whole_steps(int64_t count) { return (count + STEP - 1) / STEP * STEP; }

// Four tiles of sums at a time, 32 x 32 of them: each tile of a and of b that is loaded is used twice.
static void multiply_by_tiles(const struct block_product* of) {
  const int64_t sums_stride = of->sums_row * 4, a_stride = of->a_row * 2, b_stride = of->columns * 4;
  for (int64_t row = 0; row < of->rows; row += STEP)
    for (int64_t column = 0; column < of->columns; column += STEP) {
      float *upper = of->sums + row * of->sums_row + column, *lower = upper + TILE_ROWS * of->sums_row;
      if (of->add) {
        tile_load(0, upper, sums_stride);
        tile_load(1, upper + TILE_ROWS, sums_stride);
        tile_load(2, lower, sums_stride);
        tile_load(3, lower + TILE_ROWS, sums_stride);
      } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
      }
      for (int64_t block = 0; block < of->blocks; ++block)
        for (int64_t inner = 0; inner < of->depth; inner += STEP) {
          const bfloat16* a = of->a + block * of->a_block + row * of->a_row + inner;
          const bfloat16* b = of->b[block] + inner * of->columns + 2 * column;
          tile_load(4, a, a_stride);
          tile_load(5, a + TILE_ROWS * of->a_row, a_stride);
          tile_load(6, b, b_stride);
          tile_load(7, b + 2 * TILE_ROWS, b_stride);
          tile_multiply(0, 4, 6);
          tile_multiply(1, 4, 7);
          tile_multiply(2, 5, 6);
          tile_multiply(3, 5, 7);
        }
      tile_store(0, upper, sums_stride);
      tile_store(1, upper + TILE_ROWS, sums_stride);
      tile_store(2, lower, sums_stride);
      tile_store(3, lower + TILE_ROWS, sums_stride);
    }
}

static void multiply_by_vectors(const struct block_product* of) {
  for (int64_t column = 0; column < of->columns; column += VECTORS * LANES)
    for (int64_t row = 0; row < of->rows; row += VECTOR_ROWS) {
      float* to = of->sums + row * of->sums_row + column;
      __m512 sums[VECTOR_ROWS][VECTORS];
      for (int i = 0; i < VECTOR_ROWS; ++i)
        for (int v = 0; v < VECTORS; ++v)
          sums[i][v] = of->add ? _mm512_loadu_ps(to + i * of->sums_row + v * LANES) : _mm512_setzero_ps();
      for (int64_t block = 0; block < of->blocks; ++block) {
        const bfloat16* a = of->a + block * of->a_block + row * of->a_row;
        const bfloat16* b = of->b[block] + 2 * column;
        for (int64_t inner = 0; inner < of->depth; inner += 2) {
          __m512bh pairs[VECTORS];
          for (int v = 0; v < VECTORS; ++v)
            pairs[v] = (__m512bh)_mm512_loadu_si512(b + inner * of->columns + 2 * v * LANES);
          for (int i = 0; i < VECTOR_ROWS; ++i) {
            int32_t pair;
            memcpy(&pair, a + i * of->a_row + inner, sizeof pair);
            for (int v = 0; v < VECTORS; ++v)
              sums[i][v] = _mm512_dpbf16_ps(sums[i][v], (__m512bh)_mm512_set1_epi32(pair), pairs[v]);
          }
        }
      }
      for (int i = 0; i < VECTOR_ROWS; ++i)
        for (int v = 0; v < VECTORS; ++v) _mm512_storeu_ps(to + i * of->sums_row + v * LANES, sums[i][v]);
    }
}
