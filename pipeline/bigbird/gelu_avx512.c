// GELU in its tanh form, in place, in bfloat16.
#include "gelu_tanh.h"

// Values `low` to `high` of x.
void rookery_gelu_tanh(bfloat16* x, int64_t low, int64_t high) {
  for (int64_t i = low; i < high; i += LANES) {
    const __mmask16 mask = lanes(high - i);
    store_bfloat16(x + i, mask, gelu_tanh(load_bfloat16(mask, x + i)));
  }
}
