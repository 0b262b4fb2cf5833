// The six instructions on AMX's tiles that a product needs, and the same in plain C for the tests: with
// ROOKERY_PLAIN_TILES a processor without tiles, and a sanitizer, go through the same products.
//
// A tile is 16 rows of 64 bytes. tile_multiply adds to a tile of 16 x 16 float32 the product of a tile of 16 x 32
// bfloat16 and one of 32 x 16, whose rows lie in pairs: its row k holds rows 2k and 2k + 1, value beside value.
#pragma once
#include <stdint.h>
#include <string.h>

enum { TILES = 8, TILE_ROWS = 16, TILE_BYTES = 64 };

#ifndef ROOKERY_PLAIN_TILES
#include <immintrin.h>

// Tile numbers are part of an instruction, so these can't be functions. `stride` is in bytes.
#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, from, stride) _tile_loadd(tile, from, stride)
#define tile_multiply(sum, a, b) _tile_dpbf16ps(sum, a, b)
#define tile_store(tile, to, stride) _tile_stored(tile, to, stride)

// Of this thread: all tiles at their full size. Layout: Intel's manual, volume 1, "Tile configuration".
static void tiles_begin(void) {
  struct __attribute__((aligned(64))) {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int tile = 0; tile < TILES; ++tile) {
    config.row_bytes[tile] = TILE_BYTES;
    config.rows[tile] = TILE_ROWS;
  }
  _tile_loadconfig(&config);
}

static void tiles_end(void) { _tile_release(); }

#else

static _Thread_local uint8_t plain_tiles[TILES][TILE_ROWS][TILE_BYTES];

static void tiles_begin(void) { memset(plain_tiles, 0, sizeof plain_tiles); }
static void tiles_end(void) {}

static void tile_zero(int tile) { memset(plain_tiles[tile], 0, sizeof plain_tiles[tile]); }

static void tile_load(int tile, const void* from, int64_t stride) {
  for (int row = 0; row < TILE_ROWS; ++row)
    memcpy(plain_tiles[tile][row], (const uint8_t*)from + row * stride, TILE_BYTES);
}

static void tile_store(int tile, void* to, int64_t stride) {
  for (int row = 0; row < TILE_ROWS; ++row)
    memcpy((uint8_t*)to + row * stride, plain_tiles[tile][row], TILE_BYTES);
}

static float plain_value(const uint8_t* row, int index) {  // of a row of bfloat16
  uint16_t upper;
  memcpy(&upper, row + 2 * index, sizeof upper);
  const uint32_t bits = (uint32_t)upper << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void tile_multiply(int sum, int a, int b) {
  for (int row = 0; row < TILE_ROWS; ++row)
    for (int column = 0; column < TILE_ROWS; ++column) {
      const uint8_t *left = plain_tiles[a][row], (*right)[TILE_BYTES] = plain_tiles[b];
      float value;
      memcpy(&value, plain_tiles[sum][row] + 4 * column, sizeof value);
      for (int pair = 0; pair < TILE_ROWS; ++pair)
        for (int half = 0; half < 2; ++half)
          value += plain_value(left, 2 * pair + half) * plain_value(right[pair], 2 * column + half);
      memcpy(plain_tiles[sum][row] + 4 * column, &value, sizeof value);
    }
}
#endif
