// What a stored scale can be: any fp32 value, or an fp16 or bf16 one.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace coldpress {

// The scale of type F32, F16 or BF16 nearest to `scale` > 0; never 0 and never infinite: beyond the
// type's range its smallest or largest value.
float storable_scale(DType type, float scale);

int scale_bits(DType type);

}  // namespace coldpress
