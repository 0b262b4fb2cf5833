// BigBird's attention over one pack in bfloat16. The rule: docs/encoder.md; in plain Python: attention_reference.py.
//
// The caller splits the tasks among its threads. Each is computed alone: bytes hang neither on threads nor on company.
//
// What lies between the two products of a task stays in the processor's cache: a chunk of keys at a time, scores are
// computed, turned into weights, and multiplied with the values. That is an online softmax: what was summed before is
// scaled to the largest score so far. Scores, sums and the context are float32; only weights are rounded to bfloat16.
//
// Products want whole multiples of STEP. So blocks and heads are filled up with zeros, where keys and values are laid
// out for the products once for all tasks, and where a task copies its queries. Keys that fill up a block are not seen.
#include <math.h>
#include <stdlib.h>

#include "avx512.h"
#include "block_products.h"

enum {
  CHUNK_KEYS = 512,  // with 64 queries 128 kB of scores and 64 kB of weights: a core's own cache has 1 MB or more
  ALIGNMENT = 64,    // a cache line, and a register
};

struct shape {
  int64_t heads, block, head_size;  // the head's size is even
  int64_t row;                      // from one row of queries, keys or values to the next, in values
};

struct group {  // AttentionGroup in layout.py, with the numbers that its letters stand for
  int64_t queries, keys;
  const int64_t *window_G, *query_block_GQ, *key_block_GK;
  const float* bias_GS;
};

// What a thread works in, for one task after the other. The letters are those of pipeline/bigbird/__init__.py.
struct scratch {
  bfloat16* queries_qE;
  float* bias_k;
  float* scores_qk;
  bfloat16* weights_qk;
  float* context_qE;
  float *top_q, *sum_q;  // the largest score so far, and the sum of the weights
  const bfloat16 **keys, **values;
  void* memory;
};

static void* next_array(char** at, int64_t bytes) {
  void* array = *at;
  *at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return array;
}

// For so many rows of queries and blocks of keys, all zeros; `memory` is NULL where there is none.
static struct scratch new_scratch(int64_t rows, int64_t size, int64_t blocks, int64_t block_keys) {
  const int64_t keys = blocks * block_keys;
  const int64_t bytes = rows * (6 * size + 6 * keys + 8) + 4 * keys + 16 * blocks + 9 * ALIGNMENT;
  struct scratch scratch = {.memory = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)};
  if (!scratch.memory) return scratch;
  memset(scratch.memory, 0, bytes);
  char* at = scratch.memory;
  scratch.queries_qE = next_array(&at, rows * size * 2);
  scratch.bias_k = next_array(&at, keys * 4);
  scratch.scores_qk = next_array(&at, rows * keys * 4);
  scratch.weights_qk = next_array(&at, rows * keys * 2);
  scratch.context_qE = next_array(&at, rows * size * 4);
  scratch.top_q = next_array(&at, rows * 4);
  scratch.sum_q = next_array(&at, rows * 4);
  scratch.keys = next_array(&at, blocks * 8);
  scratch.values = next_array(&at, blocks * 8);
  return scratch;
}

// One head's block of keys: pairs of values down, keys across.
static void lay_out_keys(const struct shape* shape, const bfloat16* from, bfloat16* to) {
  const int64_t keys = whole_steps(shape->block);
  for (int64_t first = 0; first < shape->block; first += LANES) {  // so many rows stay in the nearest cache
    const int64_t end = first + LANES < shape->block ? first + LANES : shape->block;
    for (int64_t e = 0; e < shape->head_size; e += 2)
      for (int64_t key = first; key < end; ++key) memcpy(to + e * keys + 2 * key, from + key * shape->row + e, 4);
  }
}

// One head's block of values: pairs of keys down, the head across.
static void lay_out_values(const struct shape* shape, const bfloat16* from, bfloat16* to) {
  const int64_t size = whole_steps(shape->head_size);
  for (int64_t key = 0; key < shape->block; key += 2)
    for (int64_t e = 0; e < shape->head_size; e += LANES) {
      const __mmask16 here = lanes(shape->head_size - e), below = key + 1 < shape->block ? here : 0;
      const bfloat16 *upper = from + key * shape->row + e, *lower = below ? upper + shape->row : upper;
      const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(here, upper));
      const __m512i odd = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(below, lower));
      _mm512_mask_storeu_epi32(to + key * size + 2 * e, here, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
}

// Keys and values, as they lie in the rows of the pack -> filled up, and in pairs. Tasks: each head of each block.
void rookery_lay_out(const struct shape* shape, const bfloat16* k_TD, const bfloat16* v_TD, bfloat16* keys_BH,
                     bfloat16* values_BH, int64_t low, int64_t high) {
  const int64_t filled_up = whole_steps(shape->block) * whole_steps(shape->head_size);
  for (int64_t task = low; task < high; ++task) {
    const int64_t block = task / shape->heads, head = task % shape->heads;
    const int64_t from = block * shape->block * shape->row + head * shape->head_size;
    bfloat16 *keys = keys_BH + task * filled_up, *values = values_BH + task * filled_up;
    if (filled_up != shape->block * shape->head_size) {
      memset(keys, 0, filled_up * sizeof *keys);
      memset(values, 0, filled_up * sizeof *values);
    }
    lay_out_keys(shape, k_TD + from, keys);
    lay_out_values(shape, v_TD + from, values);
  }
}

// What is added to the scores, as powers of two; keys that fill up their block are not seen.
static void copy_bias(const float* from, int64_t blocks, int64_t block, float* to) {
  const int64_t filled_up = whole_steps(block);
  for (int64_t i = 0; i < blocks; ++i)
    for (int64_t key = 0; key < filled_up; ++key)
      to[i * filled_up + key] = key < block ? from[i * block + key] * (float)M_LOG2E : -INFINITY;
}

// One query's scores of a chunk -> weights, 2^(score * scale + bias - top). Gives what earlier sums are scaled by.
static float weigh(float* scores_k, const float* bias_k, bfloat16* weights_k, int64_t keys, float scale, float* top,
                   float* sum) {
  __m512 largest = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
  for (int64_t key = 0; key < keys; key += LANES) {
    const __m512 score = _mm512_load_ps(scores_k + key), bias = _mm512_load_ps(bias_k + key);
    const __m512 biased = _mm512_fmadd_ps(score, _mm512_set1_ps(scale), bias);
    _mm512_store_ps(scores_k + key, biased);
    largest = _mm512_max_ps(largest, biased);
  }
  const float before = *top, now = fmaxf(before, _mm512_reduce_max_ps(largest));
  const __m512 tops = _mm512_set1_ps(now == -INFINITY ? 0 : now);  // as long as no key was seen
  for (int64_t key = 0; key < keys; key += 2 * LANES) {
    const __m512 left = exp2_lanes(_mm512_sub_ps(_mm512_load_ps(scores_k + key), tops));
    const __m512 right = exp2_lanes(_mm512_sub_ps(_mm512_load_ps(scores_k + key + LANES), tops));
    total = _mm512_add_ps(total, _mm512_add_ps(left, right));
    _mm512_store_si512(weights_k + key, (__m512i)_mm512_cvtne2ps_pbh(right, left));
  }
  const float kept = _mm512_cvtss_f32(exp2_lanes(_mm512_sub_ps(_mm512_set1_ps(before), tops)));
  *sum = *sum * kept + _mm512_reduce_add_ps(total);
  *top = now;
  return kept;
}

static void scale_values(float* values, int64_t count, float factor) {
  for (int64_t i = 0; i < count; i += LANES)
    _mm512_store_ps(values + i, _mm512_mul_ps(_mm512_load_ps(values + i), _mm512_set1_ps(factor)));
}

static void store_context(const float* context_E, float sum, int64_t head_size, bfloat16* to) {
  for (int64_t e = 0; e < head_size; e += LANES)
    store_bfloat16(to + e, lanes(head_size - e), _mm512_mul_ps(_mm512_load_ps(context_E + e), _mm512_set1_ps(1 / sum)));
}

typedef void multiply(const struct block_product*);

// All of a block's queries against `count` blocks of keys, which is the task's `first` chunk or a later one.
static void attend_to_chunk(const struct shape* shape, const struct scratch* in, int64_t count, int first,
                            multiply* by) {
  const int64_t rows = whole_steps(shape->block), size = whole_steps(shape->head_size), keys = count * rows;
  const float scale = (float)M_LOG2E / sqrtf((float)shape->head_size);
  struct block_product scores = {.a = in->queries_qE, .a_row = size, .blocks = 1, .rows = rows, .depth = size,
                                 .columns = rows, .sums_row = keys};
  for (int64_t i = 0; i < count; ++i) {
    scores.b = in->keys + i;
    scores.sums = in->scores_qk + i * rows;
    by(&scores);
  }
  for (int64_t row = 0; row < shape->block; ++row) {
    const float kept = weigh(in->scores_qk + row * keys, in->bias_k, in->weights_qk + row * keys, keys, scale,
                             in->top_q + row, in->sum_q + row);
    if (!first) scale_values(in->context_qE + row * size, size, kept);
  }
  by(&(struct block_product){.a = in->weights_qk, .a_row = keys, .a_block = rows, .b = in->values, .blocks = count,
                             .rows = rows, .depth = rows, .columns = size, .sums = in->context_qE, .sums_row = size,
                             .add = !first});
}

// Every row of a group's query blocks. Tasks: each head of each of the G * Q. Returns 0, or -1 where memory is out.
int rookery_attend(const struct shape* shape, const struct group* group, const bfloat16* q_TD, const bfloat16* keys_BH,
                   const bfloat16* values_BH, bfloat16* context_TD, int tiles, int64_t low, int64_t high) {
  const int64_t block = shape->block, rows = whole_steps(block), size = whole_steps(shape->head_size);
  const int64_t chunk = rows < CHUNK_KEYS ? CHUNK_KEYS / rows : 1, width = shape->heads * shape->head_size;
  const struct scratch in = new_scratch(rows, size, chunk, rows);
  if (!in.memory) return -1;
  if (tiles) tiles_begin();
  for (int64_t task = low; task < high; ++task) {
    const int64_t head = task % shape->heads, query_block = group->query_block_GQ[task / shape->heads];
    const int64_t keys = task / shape->heads / group->queries * group->keys;  // where the problem's lie in key_block_GK
    for (int64_t row = 0; row < block; ++row) {
      const bfloat16* from = q_TD + (query_block * block + row) * shape->row + head * shape->head_size;
      memcpy(in.queries_qE + row * size, from, shape->head_size * sizeof *from);
      in.top_q[row] = -INFINITY;
      in.sum_q[row] = 0;
    }
    for (int64_t first = 0; first < group->keys; first += chunk) {
      const int64_t count = group->keys - first < chunk ? group->keys - first : chunk;
      copy_bias(group->bias_GS + (keys + first) * block, count, block, in.bias_k);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t laid_out = (group->key_block_GK[keys + first + i] * shape->heads + head) * rows * size;
        in.keys[i] = keys_BH + laid_out;
        in.values[i] = values_BH + laid_out;
      }
      attend_to_chunk(shape, &in, count, first == 0, tiles ? multiply_by_tiles : multiply_by_vectors);
    }
    for (int64_t row = 0; row < block; ++row)
      store_context(in.context_qE + row * size, in.sum_q[row], shape->head_size,
                    context_TD + (query_block * block + row) * width + head * shape->head_size);
  }
  if (tiles) tiles_end();
  free(in.memory);
  return 0;
}

static float dot(const float* query_E, const bfloat16* key_E, int64_t head_size) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t e = 0; e < head_size; e += LANES)
    total = _mm512_fmadd_ps(load_bfloat16(lanes(head_size - e), key_E + e), _mm512_load_ps(query_E + e), total);
  return _mm512_reduce_add_ps(total);
}

static void add_weighted(float* context_E, float weight, const bfloat16* value_E, int64_t head_size) {
  for (int64_t e = 0; e < head_size; e += LANES) {
    const __m512 value = load_bfloat16(lanes(head_size - e), value_E + e), before = _mm512_load_ps(context_E + e);
    _mm512_store_ps(context_E + e, _mm512_fmadd_ps(_mm512_set1_ps(weight), value, before));
  }
}

// The first row of each of a group's windows, against all of it: one query, so keys and values are read where they lie.
// `shape->row` is that of keys and values. Tasks: each head of each of the G. Returns 0, or -1 where memory is out.
int rookery_attend_first(const struct shape* shape, const struct group* group, const bfloat16* q_WD,
                         const bfloat16* k_TD, const bfloat16* v_TD, bfloat16* context_WD, int64_t low, int64_t high) {
  const int64_t block = shape->block, rows = whole_steps(block), size = shape->head_size;
  const int64_t keys = group->keys * rows, width = shape->heads * size;
  const float scale = (float)M_LOG2E / sqrtf((float)size);
  const struct scratch in = new_scratch(1, 2 * whole_steps(size), group->keys, rows);
  if (!in.memory) return -1;
  float *const context_E = in.context_qE, *const query_E = context_E + whole_steps(size);
  for (int64_t task = low; task < high; ++task) {
    const int64_t problem = task / shape->heads, head = task % shape->heads * size;
    const int64_t at = group->window_G[problem] * width + head;
    const int64_t* key_blocks = group->key_block_GK + problem * group->keys;
    for (int64_t e = 0; e < size; e += LANES) {
      _mm512_store_ps(query_E + e, load_bfloat16(lanes(size - e), q_WD + at + e));
      _mm512_store_ps(context_E + e, _mm512_setzero_ps());
    }
    copy_bias(group->bias_GS + problem * group->keys * block, group->keys, block, in.bias_k);
    for (int64_t i = 0; i < group->keys; ++i)
      for (int64_t key = 0; key < block; ++key)
        in.scores_qk[i * rows + key] = dot(query_E, k_TD + (key_blocks[i] * block + key) * shape->row + head, size);
    float top = -INFINITY, sum = 0;
    weigh(in.scores_qk, in.bias_k, in.weights_qk, keys, scale, &top, &sum);
    for (int64_t i = 0; i < group->keys; ++i)
      for (int64_t key = 0; key < block; ++key)
        add_weighted(context_E, bfloat16_value(in.weights_qk[i * rows + key]),
                     v_TD + (key_blocks[i] * block + key) * shape->row + head, size);
    store_context(context_E, sum, size, context_WD + at);
  }
  free(in.memory);
  return 0;
}
